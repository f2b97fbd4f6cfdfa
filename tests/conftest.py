"""Fixtures that every part of the suite shares: a fresh home with the real embedded server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.database.lifecycle import set_default_server
from backend.services.current import bind
from backend.services.queue import huey
from backend.services.runtime import Runtime
from backend.settings import Settings, load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, in the environment for whatever child is started."""
    for name in ("WORKER", "IMMEDIATE", "LLM_PATH", "JOURNAL", "THEME"):
        monkeypatch.delenv(f"CHARLIE_{name}", raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("CHARLIE_HOME", str(folder))
    return folder


@pytest.fixture
def settings(home: Path) -> Settings:
    """The defaults over that home."""
    return load_settings(home=home)


@pytest.fixture
def make_runtime(home: Path) -> Iterator[Callable[..., Runtime]]:
    """Opens Runtimes over that home, with settings by keyword, and closes them all in reverse."""
    opened: list[Runtime] = []

    def make(**chosen: object) -> Runtime:
        runtime = Runtime(load_settings(home=home, **chosen))
        huey.immediate = runtime.settings.immediate
        opened.append(runtime)
        runtime.open()
        bind(runtime)
        return runtime

    yield make
    for runtime in reversed(opened):
        runtime.close()
    huey.immediate = False
    set_default_server(None)


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime]) -> Runtime:
    """An opened Runtime whose worker has not been started."""
    return make_runtime()


@pytest.fixture
def runtime_immediate(make_runtime: Callable[..., Runtime]) -> Runtime:
    """An opened Runtime on which tasks run where they are called and saving enqueues nothing."""
    return make_runtime(immediate=True)

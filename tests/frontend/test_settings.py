"""The settings screen: what is set, which model reads, and the self-test from it."""

import re
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from textual.app import App

from backend.inference.probe import Prober
from backend.services.runtime import Runtime
from backend.settings import load_settings
from frontend.app import CharlieApp
from frontend.widgets.model_list import ModelList
from tests.gguf_factory import write_random_llm

Shown = Callable[[App[None]], str]
Until = Callable[[Callable[[], object]], Awaitable[None]]
SIZE = (110, 44)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that takes its time."""
    path = tmp_path_factory.mktemp("llm") / "slow.gguf"
    return write_random_llm(path, n_layers=16, n_embd=512, n_heads=8, n_heads_kv=8, n_ff=2048)


@pytest.fixture
def with_model(runtime: Runtime, weights: Path) -> Runtime:
    """A runtime in whose home that model lies."""
    runtime.settings.models_dir.mkdir(parents=True)
    (runtime.settings.models_dir / "mine.gguf").symlink_to(weights)
    return runtime


@pytest.fixture
def written(home: Path) -> None:
    """A person's own charlie.toml."""
    home.mkdir()
    (home / "charlie.toml").write_text('review_below = 0.7\nn_parallel = 2\nllm_api_key = "very-secret"\n')


async def _open(app: CharlieApp, until: Until, n_models: int) -> ModelList:
    await until(lambda: app.screen.name == "home" and app.status)
    app.action_settings()
    await until(lambda: app.screen.name == "settings" and app.screen.query(ModelList))
    models = app.screen.query_one(ModelList)
    await until(lambda: models.option_count == n_models)
    return models


async def test_values_stand_with_where_they_come_from(
    written: None, make_runtime: Callable[..., Runtime], shown: Shown, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment over the file over the default; a key is never shown."""
    monkeypatch.setenv("CHARLIE_N_PARALLEL", "3")
    app = CharlieApp(make_runtime())
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: app.screen.name == "home" and app.status)
        await pilot.press("s")
        await until(lambda: "review_below" in shown(app))
        rows = {line.split()[0]: line.split()[1:3] for line in shown(app).splitlines() if len(line.split()) > 2}
        assert rows["review_below"] == ["file", "0.7"]
        assert rows["n_parallel"] == ["environment", "3"]
        assert rows["llm_path"] == ["default", "none"]
        assert rows["llm_api_key"] == ["file", "set"]
        assert "very-secret" not in shown(app)
        await until(lambda: "tagger reads" in shown(app))
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home")


async def test_enter_chooses_the_model_that_reads(
    app: CharlieApp, with_model: Runtime, shown: Shown, until: Until, until_child: Until
) -> None:
    """Checked in a child, written to charlie.toml, taken up at once; and back to the tagger."""
    async with app.run_test(size=SIZE) as pilot:
        models = await _open(app, until, 2)
        assert models.selected is not None
        assert models.selected.is_active
        await pilot.press("j", "enter")
        await until(lambda: "Checking mine.gguf" in shown(app) or "mine.gguf reads" in shown(app))
        await until_child(lambda: "mine.gguf reads new entries from now on." in shown(app))
        await until(lambda: with_model.settings.llm_path == with_model.settings.models_dir / "mine.gguf")
        assert load_settings(home=with_model.settings.home).llm_path is not None
        await until(lambda: "llm_path            file" in shown(app))
        await pilot.press("k", "enter")
        await until_child(lambda: "tagger reads new entries from now on." in shown(app))
        assert load_settings(home=with_model.settings.home).llm_path is None


async def test_what_cannot_be_used_says_why(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until, until_child: Until
) -> None:
    """A damaged file stays unchosen, and cannot be tried either."""
    runtime.settings.models_dir.mkdir(parents=True)
    (runtime.settings.models_dir / "broken.gguf").write_bytes(b"GGUF and nothing more")
    async with app.run_test(size=SIZE) as pilot:
        await _open(app, until, 2)
        await pilot.press("j", "enter")
        await until_child(lambda: shown(app).count("broken.gguf cannot be used") == 2)
        await pilot.press("t")
        await until_child(lambda: "Trying broken.gguf" not in shown(app) and "cannot be used" in shown(app))
        assert load_settings(home=runtime.settings.home).llm_path is None


async def test_the_self_test_shows_its_progress_and_verdict(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until, until_child: Until
) -> None:
    """The tagger is through in seconds; meanwhile the screen answers."""
    runtime.journal.add("One entry.")
    async with app.run_test(size=SIZE) as pilot:
        models = await _open(app, until, 1)
        await pilot.press("t", "t")
        await until_child(lambda: "tagger: Reading" in shown(app))
        assert "escape stop the test" in shown(app)
        assert models.has_focus
        await until_child(lambda: "Good enough: " in shown(app))
        # How long is the machine's affair.
        await until(lambda: re.search(r"\(1 entry\) would take about \d+ s\.", shown(app)))
        await until(lambda: "t try it on a dozen entries" in shown(app))


async def test_escape_stops_the_test_and_then_leaves(
    app: CharlieApp, with_model: Runtime, shown: Shown, until: Until, until_child: Until
) -> None:
    """The keys stay quick while a slow model reads; nothing of it is left."""
    async with app.run_test(size=SIZE) as pilot:
        models = await _open(app, until, 2)
        await pilot.press("j", "t")
        # Loading or reading, whichever this machine has come to.
        await until_child(lambda: "mine.gguf: " in shown(app))
        started_s = time.monotonic()
        await pilot.press("k", "j")
        assert time.monotonic() - started_s < 1
        assert models.highlighted == 1
        await pilot.press("escape")
        await until_child(lambda: "Stopped." in shown(app))
        assert app.screen.name == "settings"
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home")
    assert not _children()


async def test_leaving_charlie_ends_the_test(
    app: CharlieApp, with_model: Runtime, shown: Shown, until: Until, until_child: Until
) -> None:
    """Quitting in the middle leaves no process behind."""
    async with app.run_test(size=SIZE) as pilot:
        await _open(app, until, 2)
        await pilot.press("j", "t")
        await until_child(lambda: "mine.gguf: " in shown(app) and _children())
        await pilot.press("ctrl+q")
    await until_child(lambda: not _children())


@pytest.mark.parametrize("key", ["escape", "ctrl+q"])
async def test_a_check_ends_when_told_to(
    app: CharlieApp, with_model: Runtime, shown: Shown, until: Until, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A child that never answers: escape or quitting ends it, and the choice stays what it was."""
    sleeper = (sys.executable, "-c", "import time; time.sleep(60)", "never_answers")
    monkeypatch.setattr("backend.inference.loading.Prober", lambda folder: Prober(folder, command=sleeper))
    async with app.run_test(size=SIZE) as pilot:
        await _open(app, until, 2)
        await pilot.press("j", "enter")
        await until(lambda: "escape stop the check" in shown(app) and _children("never_answers"))
        await pilot.press(key)
        if key == "escape":
            await until(lambda: "Stopped: nothing is changed." in shown(app))
            await pilot.press("escape")
            await until(lambda: app.screen.name == "home")
    await until(lambda: not _children("never_answers"))
    assert load_settings(home=with_model.settings.home).llm_path is None


@pytest.mark.parametrize(("key", "does"), [("enter", "choose"), ("t", "try_model")])
async def test_a_defect_does_not_hold_the_screen(
    app: CharlieApp,
    with_model: Runtime,
    shown: Shown,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    does: str,
) -> None:
    """An error that nobody expects is told; the screen can be used on and left."""

    def broken(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr(f"frontend.screens.settings.{does}", broken)
    async with app.run_test(size=SIZE) as pilot:
        await _open(app, until, 2)
        await pilot.press("j", key)
        await until(lambda: any("went wrong inside" in notice.message for notice in app._notifications))
        await until(lambda: "escape back" in shown(app) and "mine.gguf …" not in shown(app))
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home")


def _children(word: str = "self_test_child") -> list[psutil.Process]:
    """Processes of a self-test, or with this word in their command, that still run."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            found += [child] if word in " ".join(child.cmdline()) else []
    return found

"""Reading waits for power, memory and a pause in typing, as the settings say."""

import math
import os
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from backend.domain import EpisodeStatus, Status
from backend.errors import ReadingDeferred, ReadingUnavailable
from backend.services.launch import start_worker
from backend.services.runtime import Runtime
from backend.services.tasks import extract_nodes_task
from backend.services.worker import policy
from backend.services.worker.conditions import Conditions, Typing, is_on_battery
from backend.settings import load_settings

type MakeRuntime = Callable[..., Runtime]

Battery = namedtuple("Battery", "percent secsleft power_plugged")
TEXT = "Met Sarah Miller at Cafe Luna in Lisbon after yoga class."


def never() -> bool:
    """For what must not be asked."""
    pytest.fail("the settings do not depend on this")


def check(home: Path, *, battery: bool = False, free_mb: float = 9999, ago_s: float = 0, **chosen: object) -> None:
    """Whether a model that is not loaded may be, where the machine is so."""
    found = Conditions(lambda: battery, lambda: int(free_mb * 2**20), lambda: ago_s)
    found.check(load_settings(home=home, **chosen), is_loaded=False)


def test_nothing_is_asked_that_no_setting_depends_on(tmp_path: Path) -> None:
    """By default only memory counts, and of a model that is loaded or elsewhere nothing does."""
    settings = load_settings(home=tmp_path)
    Conditions(never, lambda: 2**40, never).check(settings, is_loaded=False)
    Conditions(never, never, never).check(settings, is_loaded=True)
    remote = load_settings(home=tmp_path, llm_url="http://127.0.0.1:1/v1", load_while_typing=False)
    Conditions(never, never, never).check(remote, is_loaded=False)
    Conditions(never, never, never).check(load_settings(home=tmp_path, memory_override=True), is_loaded=False)


def test_each_condition_says_what_to_do(tmp_path: Path) -> None:
    """The reason, the setting that would change it, and how soon to look again."""
    with pytest.raises(ReadingDeferred, match=r"plug it in, or set pause_on_battery") as waits:
        check(tmp_path, battery=True, pause_on_battery=True)
    assert waits.value.retry_s == policy.PAUSE_S
    with pytest.raises(ReadingDeferred, match="load_while_typing") as waits:
        check(tmp_path, ago_s=1, load_while_typing=False)
    assert waits.value.retry_s == policy.TYPING_S
    with pytest.raises(ReadingUnavailable, match=r"499 MB of memory are free and 500 .* lower min_free_memory_mb"):
        check(tmp_path, free_mb=499)
    check(tmp_path, battery=True, ago_s=policy.TYPING_S, load_while_typing=False)
    check(tmp_path, free_mb=1, min_free_memory_mb=0)


def test_typing_is_told_across_processes(tmp_path: Path) -> None:
    """By way of a file: nobody typed before it is there, and a clock that was set back does not hold a model up."""
    typing = Typing(tmp_path)
    assert typing.ago_s() == math.inf
    typing.note()
    assert 0 <= Typing(tmp_path).ago_s() < 2
    os.utime(tmp_path / "typed", (time.time() + 99, time.time() + 99))
    assert typing.ago_s() == math.inf
    Typing(tmp_path / "absent").note()


@pytest.mark.parametrize(
    ("battery", "expected"),
    [(None, False), (Battery(50, 99, True), False), (Battery(50, 99, None), False), (Battery(50, 99, False), True)],
)
def test_what_the_system_says_of_a_battery(
    monkeypatch: pytest.MonkeyPatch, battery: Battery | None, expected: bool
) -> None:
    """No battery, plugged in, unknown, and unplugged."""
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert is_on_battery() is expected
    monkeypatch.delattr(psutil, "sensors_battery")
    assert not is_on_battery()


def read(uuid: str) -> dict[str, object]:
    """The task's result, synchronously."""
    result: dict[str, object] = extract_nodes_task(uuid, "default").get()
    return result


def status_of(runtime: Runtime) -> Status:
    """What the screen shows."""
    return runtime.status()


def test_reading_goes_on_when_the_computer_is_plugged_in(
    make_runtime: MakeRuntime, llm_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On battery the entry waits, for months if need be, and no model is loaded; plugged in it is read."""
    plugged = [False]
    monkeypatch.setattr(psutil, "sensors_battery", lambda: Battery(50, 99, plugged[0]), raising=False)
    runtime = make_runtime(
        immediate=True, llm_path=llm_path, n_ctx_tokens=8192, max_answer_tokens=4096, pause_on_battery=True
    )
    uuid = runtime.journal.add(TEXT)
    wait_since(runtime, uuid, policy.MAX_UNAVAILABLE_S * 5)
    assert "battery" in str(read(uuid)["unavailable"])
    assert "battery" in status_of(runtime).problem
    assert (status_of(runtime).pending, status_of(runtime).dead) == (1, 0)
    plugged[0] = True
    runtime.session.reading.use(runtime.settings)
    assert read(uuid)["episode_uuid"] == uuid
    assert status_of(runtime).problem == ""


def test_no_model_is_loaded_while_somebody_types(make_runtime: MakeRuntime, llm_path: Path) -> None:
    """The entry stays pending and has not failed; after a pause of 3 s it is read."""
    runtime = make_runtime(
        immediate=True, llm_path=llm_path, n_ctx_tokens=8192, max_answer_tokens=4096, load_while_typing=False
    )
    uuid = runtime.journal.add(TEXT)
    runtime.typed()
    assert "typing" in str(read(uuid)["unavailable"])
    entry = runtime.journal.ledger_entry(uuid)
    assert entry is not None
    assert (entry.status, entry.attempts) == (EpisodeStatus.PENDING_NODES, 0)
    long_ago_s = time.time() - policy.TYPING_S
    os.utime(runtime.settings.run_dir / "typed", (long_ago_s, long_ago_s))
    runtime.session.reading.use(runtime.settings)
    assert read(uuid)["episode_uuid"] == uuid


def test_typing_is_not_noted_where_nothing_waits_for_it(make_runtime: MakeRuntime) -> None:
    """By default a key costs no file."""
    runtime = make_runtime(immediate=True)
    runtime.typed()
    assert not (runtime.settings.run_dir / "typed").exists()


def wait_since(runtime: Runtime, uuid: str, ago_s: float) -> None:
    """As if the entry had been written so long ago."""
    fields = {"created_at": repr(time.time() - ago_s)}
    assert runtime.stores.ledger.move(uuid, EpisodeStatus.PENDING_NODES, fields=fields)


def test_after_fourteen_days_without_a_model_an_entry_is_given_up(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    """With the reason, and counted on the screen; one that waits less stays, and a retry begins another 14 days."""
    runtime = make_runtime(immediate=True, llm_path=tmp_path / "absent.gguf")
    old, new = (runtime.journal.add(TEXT) for _ in range(2))
    wait_since(runtime, old, policy.MAX_UNAVAILABLE_S + 60)
    wait_since(runtime, new, policy.MAX_UNAVAILABLE_S - 60)
    assert "14 days; the last reason: no model file at" in str(read(old)["dead"])
    runtime.session.reading.use(runtime.settings)
    assert "unavailable" in read(new)
    assert (status_of(runtime).dead, status_of(runtime).pending) == (1, 1)
    entry = runtime.journal.ledger_entry(old)
    assert entry is not None
    assert "14 days" in entry.reason
    assert runtime.journal.retry(old) == 1
    runtime.session.reading.use(runtime.settings)
    assert "unavailable" in read(old)
    assert status_of(runtime).dead == 0


def test_the_worker_loads_by_itself_once_the_typing_pauses(make_runtime: MakeRuntime, llm_path: Path) -> None:
    """While keys are pressed no instruct model is loaded; a few seconds after the last one the entry is read."""
    runtime = make_runtime(
        worker="thread", llm_path=llm_path, n_ctx_tokens=8192, max_answer_tokens=4096, load_while_typing=False
    )
    runtime.typed()
    start_worker(runtime)
    uuid = runtime.journal.add(TEXT)
    typed_last_s = wait_for(lambda: "typing" in status_of(runtime).problem, 20, meanwhile=runtime.typed)
    assert "llm" not in runtime.session.manager.loaded()
    read_s = wait_for(lambda: runtime.journal.status_of(uuid) is EpisodeStatus.DONE, 30)
    assert read_s - typed_last_s >= policy.TYPING_S - 1
    assert status_of(runtime).problem == ""


def wait_for(is_so: Callable[[], bool], at_most_s: float, meanwhile: Callable[[], None] = lambda: None) -> float:
    """The time, by a steady clock, at which `is_so` was seen."""
    end_s = time.monotonic() + at_most_s
    while not is_so():
        assert time.monotonic() < end_s
        meanwhile()
        time.sleep(0.05)
    return time.monotonic()

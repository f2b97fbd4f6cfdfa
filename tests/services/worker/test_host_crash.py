"""The process dies in the middle of a model call: by a native fault, or by a kill."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from backend.domain import EpisodeStatus
from backend.services.launch import start_worker
from backend.services.runtime import Runtime
from backend.services.worker.host import ProcessWorker
from tests import waiting

TEXT = "Met Sarah Miller at Cafe Luna in Lisbon after yoga class."
# A worker's process has to be started, to import and to load before it can be ended.
until = partial(waiting.until, limit_s=60.0)

type MakeRuntime = Callable[..., Runtime]


def is_reading_with(runtime: Runtime, uuid: str, weights_but: set[str]) -> bool:
    """Whether an entry is inside a call of a model other than these."""
    try:
        marker = json.loads((runtime.settings.run_dir / "in-flight.json").read_text())
    except (OSError, ValueError):
        return False
    is_alive = runtime.gate.holder_pid() is not None
    return is_alive and marker["uuids"] == [uuid] and marker["weights"] not in weights_but


def crash(runtime: Runtime, uuid: str, tagger: set[str], signum: int) -> None:
    """End the worker's process while it reads an entry with the instruct model."""
    assert until(lambda: is_reading_with(runtime, uuid, tagger))
    pid = runtime.gate.holder_pid()
    assert pid is not None
    assert pid != os.getpid()
    os.kill(pid, signum)
    assert until(lambda: runtime.gate.holder_pid() != pid)


def crashes_of(runtime: Runtime, uuid: str) -> int:
    """Native faults counted against an entry."""
    entry = runtime.journal.ledger_entry(uuid)
    return entry.crashes if entry else -1


def kills_of(runtime: Runtime, uuid: str) -> int:
    """Unexplained deaths counted against an entry."""
    entry = runtime.journal.ledger_entry(uuid)
    return entry.kills if entry else -1


def test_crashes_are_counted_and_end_in_a_reason(make_runtime: MakeRuntime, slow_llm_path: Path) -> None:
    """One entry crashes twice and is set aside; a second one crashes and the weights are left alone."""
    plain = make_runtime(immediate=True)
    with plain.session.manager.lease("tagger") as reader:
        tagger = {reader.provenance.weights}
    plain.close()
    runtime = make_runtime(worker="process", llm_path=slow_llm_path)
    first = runtime.journal.add(TEXT)
    os.environ["CHARLIE_LLM_PATH"] = str(slow_llm_path)
    try:
        start_worker(runtime)
        crash(runtime, first, tagger, signal.SIGSEGV)
        # The marker of the dead worker is there until the next one has counted it.
        assert until(lambda: crashes_of(runtime, first) == 1)
        assert runtime.journal.status_of(first) is EpisodeStatus.PENDING_NODES
        crash(runtime, first, tagger, signal.SIGSEGV)
        assert until(lambda: runtime.journal.status_of(first) is EpisodeStatus.DEAD)
        entry = runtime.journal.ledger_entry(first)
        assert entry is not None
        assert entry.crashes == 2
        assert "crashed" in entry.reason
        second = runtime.journal.add(TEXT)
        crash(runtime, second, tagger, signal.SIGABRT)
        assert until(lambda: "two different entries" in runtime.status().problem)
        assert runtime.journal.status_of(second) is EpisodeStatus.PENDING_NODES
    finally:
        del os.environ["CHARLIE_LLM_PATH"]
    runtime.close()
    # The next start keeps the model out of this process.
    again = make_runtime(worker="thread")
    start_worker(again)
    assert isinstance(again.worker, ProcessWorker)
    assert "after a crash" in again.status().notice


def test_kills_are_forgiven_for_longer(make_runtime: MakeRuntime, slow_llm_path: Path) -> None:
    """A kill is not the entry's fault: after two the entry still waits."""
    runtime = make_runtime(worker="process", llm_path=slow_llm_path)
    uuid = runtime.journal.add(TEXT)
    os.environ["CHARLIE_LLM_PATH"] = str(slow_llm_path)
    try:
        start_worker(runtime)
        for n_kills in (1, 2):
            crash(runtime, uuid, set(), signal.SIGKILL)
            assert until(lambda n=n_kills: kills_of(runtime, uuid) == n)  # type: ignore[misc]
    finally:
        del os.environ["CHARLIE_LLM_PATH"]
    assert runtime.journal.status_of(uuid) is EpisodeStatus.PENDING_NODES
    assert not (runtime.settings.run_dir / "crashed.json").exists()

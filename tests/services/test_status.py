"""One snapshot of what goes on, in this process and as another one tells it."""

import os

from backend.database.connection import default_client
from backend.domain import EpisodeStatus, ModelState, ModelStatus, Status
from backend.services.runtime import Runtime
from backend.services.status import NO_MODEL, Board, WorkerState, snapshot

BUSY = ModelStatus(ModelState.BUSY, "x.gguf", "llm", 2, 123.5, 0.5, 4096, 4, 0.4, 3, 12.5, 20.0)


def ask(runtime: Runtime, own: WorkerState | None, holder_pid: int | None) -> Status:
    """A snapshot with this worker and that holder of the gate."""
    board = Board(default_client())
    return snapshot(
        runtime.stores, reader="tagger", own=own, holder_pid=holder_pid, read_board=board.read, own_pid=os.getpid()
    )


def test_counts(runtime_immediate: Runtime) -> None:
    """Entries by journal, those that wait and those given up; deleted ones are not counted."""
    journal = runtime_immediate.journal
    uuids = [journal.add("x"), journal.add("y"), journal.add("z", journal="other")]
    journal.delete(journal.add("w"))
    runtime_immediate.stores.ledger.move(uuids[0], EpisodeStatus.DEAD)
    status = runtime_immediate.status()
    assert (dict(status.journals), status.pending, status.dead) == ({"default": 2, "other": 1}, 2, 1)
    assert (status.worker, status.model, status.reading_uuid, status.problem) == ("nobody", NO_MODEL, "", "")


def test_the_board_keeps_every_field(runtime: Runtime) -> None:
    """Written by one process, read by another."""
    board = Board(default_client())
    assert board.read() is None
    state = WorkerState(123, BUSY, "uuid", "no model: $x [bold]")
    board.write(state)
    assert board.read() == state


def test_this_process(runtime: Runtime) -> None:
    """Its own word is fresher than the board."""
    Board(default_client()).write(WorkerState(os.getpid(), NO_MODEL, "old"))
    status = ask(runtime, WorkerState(os.getpid(), BUSY, "new"), os.getpid())
    assert (status.worker, status.reading_uuid, status.model) == ("this process", "new", BUSY)


def test_another_process(runtime: Runtime) -> None:
    """What it wrote, as long as it is the one that holds the gate."""
    Board(default_client()).write(WorkerState(4242, BUSY, "uuid", "why"))
    own = WorkerState(os.getpid(), NO_MODEL)
    status = ask(runtime, own, 4242)
    assert (status.worker, status.model, status.reading_uuid, status.problem) == ("process 4242", BUSY, "uuid", "why")
    status = ask(runtime, own, 4343)
    assert (status.worker, status.model, status.reading_uuid) == ("process 4343", NO_MODEL, "")


def test_nobody(runtime: Runtime) -> None:
    """What the last worker said does not hold when there is none."""
    Board(default_client()).write(WorkerState(4242, BUSY, "uuid", "why"))
    status = ask(runtime, None, None)
    assert (status.worker, status.model, status.problem) == ("nobody", NO_MODEL, "")

"""Changes are taken back in order, the last one first."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from backend.database.episodes import Episodes
from backend.database.stores import Stores
from backend.domain import EpisodeStatus
from backend.errors import EpisodeNotFound
from backend.services.journal import JournalService, Undone
from backend.services.worker import recovery
from tests.services.entries import names, read, uuids


def test_undo_goes_back_step_by_step(journal: JournalService, stores: Stores) -> None:
    """Delete, edit, reject, add: each taken back in turn, then nothing is left."""
    uuid = journal.add("Anna met Ben")
    read(stores, uuid, "Anna", "Ben")
    anna = next(c.entity.uuid for c in journal.connections(uuid) if c.entity.name == "Anna")
    journal.reject(uuid, anna)
    journal.edit(uuid, "Anna met Ben.")
    read(stores, uuid, "Anna", "Ben")
    assert names(journal, uuid) == {"Ben"}
    journal.delete(uuid)
    assert uuids(journal) == set()
    assert journal.undo() == Undone("delete", uuid)
    assert names(journal, uuid) == {"Ben"}
    assert journal.status_of(uuid) is EpisodeStatus.DONE
    assert journal.undo() == Undone("edit", uuid)
    assert journal.get(uuid).text == "Anna met Ben"
    assert journal.status_of(uuid) is EpisodeStatus.PENDING_NODES
    assert journal.undo() == Undone("reject", uuid)
    assert names(journal, uuid) == {"Anna", "Ben"}
    assert journal.undo() == Undone("add", uuid)
    assert uuids(journal) == set()
    # One undo too many loses nothing.
    assert journal.undo() == Undone("delete", uuid)
    assert uuids(journal) == {uuid}
    assert journal.undo() is None


def test_two_undos_at_once_take_back_two_changes(journal: JournalService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither finds the change that the other is taking back."""
    uuid = journal.add("first")
    journal.edit(uuid, "second")
    journal.edit(uuid, "third")
    last_change = Episodes.last_change
    both = threading.Barrier(2)

    def slow(store: Episodes, name: str) -> dict[str, Any] | None:
        change = last_change(store, name)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        return change

    monkeypatch.setattr(Episodes, "last_change", slow)
    with ThreadPoolExecutor(2) as pool:
        undone = [future.result() for future in [pool.submit(journal.undo) for _ in range(2)]]
    assert undone == [Undone("edit", uuid)] * 2
    assert journal.get(uuid).text == "first"


def test_undo_where_there_is_nothing(journal: JournalService) -> None:
    """No journal, no change; asking makes none."""
    assert journal.undo() is None
    assert journal.undo("other") is None
    assert journal.journals() == {}


def test_undo_keeps_to_its_journal(journal: JournalService) -> None:
    """The last change of one is not the last of another."""
    here, there = journal.add("x"), journal.add("y", journal="other")
    assert journal.undo() == Undone("add", here)
    assert journal.undo("other") == Undone("add", there)


def test_undo_passes_over_what_is_gone_for_good(journal: JournalService, stores: Stores) -> None:
    """A purged entry cannot come back, and does not stand in the way of what can."""
    kept = journal.add("kept")
    gone = journal.add("gone")
    journal.delete(gone)
    time.sleep(0.001)
    assert recovery.purge(stores, 0) == 1
    assert journal.undo() == Undone("add", kept)


def test_deleting_while_pending(journal: JournalService, stores: Stores) -> None:
    """It does not wait any more; brought back, it waits again."""
    uuid = journal.add("x")
    journal.delete(uuid)
    assert stores.ledger.count(EpisodeStatus.PENDING_NODES) == 0
    with pytest.raises(EpisodeNotFound):
        journal.get(uuid)
    journal.undo()
    assert journal.status_of(uuid) is EpisodeStatus.PENDING_NODES
    read(stores, uuid)

"""The ledger: every function, its edges, and the whole life of an entry."""

import threading
import time

import pytest

from backend.database import keys
from backend.database.connection import default_client
from backend.database.redis_ops import (
    PENDING,
    Ledger,
    get_episode_data,
    get_episode_status,
    get_episode_uuid_map,
    get_episodes_by_status,
    remove_episode_from_queue,
    set_episode_status,
)
from backend.domain import EpisodeStatus
from backend.services.runtime import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def ledger(runtime: Runtime) -> Ledger:
    """The ledger of a fresh home."""
    return runtime.stores.ledger


def put(ledger: Ledger, uuid: str, revision: int = 1) -> None:
    """A pending entry as saving writes it."""
    with default_client().pipeline() as pipeline:
        ledger.put(pipeline, uuid, "default", revision=revision)
        pipeline.execute()


def test_first_status_keeps_journal_and_time() -> None:
    """The first call records the journal and when it was."""
    before = time.time()
    set_episode_status("a", "pending_nodes", journal="diary")
    data = get_episode_data("a")
    assert data["status"] == "pending_nodes"
    assert data["journal"] == "diary"
    assert before <= float(data["created_at"]) <= time.time()


def test_first_status_needs_a_journal() -> None:
    """Without a journal nobody could find the entry again; nothing is written."""
    with pytest.raises(ValueError, match="journal"):
        set_episode_status("a", "pending_nodes")
    assert get_episode_data("a") == {}


@pytest.mark.parametrize("status", ["done", "pending", "", "DEAD"])
def test_unknown_status_is_refused(status: str) -> None:
    """Only the three stored statuses exist; `done` is the absence of a key."""
    with pytest.raises(ValueError, match=r"status|valid"):
        set_episode_status("a", status, journal="default")
    assert get_episode_status("a") is None


def test_later_status_keeps_what_is_there() -> None:
    """A second call moves the entry and keeps journal, time and map."""
    set_episode_status("a", "pending_nodes", journal="diary", uuid_map={"x": "y"})
    first = get_episode_data("a")
    set_episode_status("a", "pending_edges")
    second = get_episode_data("a")
    assert second["status"] == "pending_edges"
    assert (second["journal"], second["created_at"]) == (first["journal"], first["created_at"])
    assert get_episode_uuid_map("a") == {"x": "y"}


def test_uuid_map_round_trips_and_may_be_empty() -> None:
    """The map is JSON in the hash; an empty one is a map, none is None."""
    set_episode_status("a", "pending_edges", journal="default", uuid_map={})
    assert get_episode_uuid_map("a") == {}
    set_episode_status("b", "pending_edges", journal="default")
    assert get_episode_uuid_map("b") is None
    assert get_episode_uuid_map("nobody") is None


def test_unknown_entry_has_nothing() -> None:
    """What was never there, or has been read, reads as nothing."""
    assert get_episode_status("nobody") is None
    assert get_episode_data("nobody") == {}


def test_by_status_lists_only_that_status() -> None:
    """Each status has its own list; an entry is in one of them."""
    set_episode_status("a", "pending_nodes", journal="default")
    set_episode_status("b", "pending_edges", journal="default")
    set_episode_status("c", "dead", journal="default")
    set_episode_status("a", "dead")
    assert get_episodes_by_status("pending_nodes") == []
    assert get_episodes_by_status("pending_edges") == ["b"]
    assert sorted(get_episodes_by_status("dead")) == ["a", "c"]
    assert get_episodes_by_status("done") == []


def test_remove_is_complete_and_idempotent() -> None:
    """A finished entry has no key and is in no list."""
    set_episode_status("a", "pending_nodes", journal="default")
    remove_episode_from_queue("a")
    remove_episode_from_queue("a")
    assert get_episode_data("a") == {}
    assert get_episodes_by_status("pending_nodes") == []
    assert default_client().keys("episode:*") == default_client().keys("ledger:*") == []


def test_concurrent_moves_leave_one_place(ledger: Ledger) -> None:
    """Eight threads move one entry about; hash and lists agree in the end and at every look."""
    set_episode_status("a", "pending_nodes", journal="default")
    wrong: list[int] = []

    def move(status: str) -> None:
        for _ in range(25):
            set_episode_status("a", status)
            places = ledger.count(*PENDING, EpisodeStatus.DEAD)
            wrong.extend([places] if places != 1 else [])

    statuses = ["pending_nodes", "pending_edges", "dead", "pending_nodes"] * 2
    threads = [threading.Thread(target=move, args=(status,)) for status in statuses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = get_episode_status("a")
    assert status is not None
    assert get_episodes_by_status(status) == ["a"]
    assert wrong == []


def test_two_first_calls_keep_one_time() -> None:
    """First calls racing each other agree on when the entry came."""
    barrier = threading.Barrier(4)

    def first() -> None:
        barrier.wait()
        set_episode_status("a", "pending_nodes", journal="default")

    threads = [threading.Thread(target=first) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get_episodes_by_status("pending_nodes") == ["a"]


def test_finish_wants_the_revision_that_was_read(ledger: Ledger) -> None:
    """An entry saved again during its reading stays."""
    put(ledger, "a", revision=2)
    assert not ledger.finish("a", 1)
    assert get_episode_status("a") == "pending_nodes"
    assert ledger.finish("a", 2)
    assert get_episode_status("a") is None
    assert not ledger.finish("a", 2)


def test_saving_again_gives_a_clean_slate(ledger: Ledger) -> None:
    """A new revision forgets attempts, crashes and reasons of the former text."""
    put(ledger, "a")
    ledger.move("a", EpisodeStatus.DEAD, fields={"attempts": 5, "crashes": 1, "reason": "why"})
    put(ledger, "a", revision=2)
    entry = ledger.get("a")
    assert entry is not None
    assert (entry.status, entry.attempts, entry.crashes, entry.reason) == (EpisodeStatus.PENDING_NODES, 0, 0, "")


def test_update_and_move_never_bring_an_entry_back(ledger: Ledger) -> None:
    """What has left the ledger stays away, whoever comes late."""
    assert not ledger.update("gone", {"attempts": 1})
    assert not ledger.move("gone", EpisodeStatus.DEAD, fields={"reason": "late"})
    assert get_episode_data("gone") == {}
    assert ledger.count(*PENDING, EpisodeStatus.DEAD) == 0


def test_count_by_due_time(ledger: Ledger) -> None:
    """A retry for later is pending and not due."""
    put(ledger, "now")
    put(ledger, "later")
    ledger.move("later", EpisodeStatus.PENDING_NODES, due_at_s=2_000_000_000)
    assert ledger.count(*PENDING) == 2
    assert ledger.count(*PENDING, due_by_s=1_900_000_000) == 1


def test_mend_finds_hashes_written_by_hand(ledger: Ledger) -> None:
    """A hash without a place gets one; a place without a hash goes."""
    client = default_client()
    client.hset("episode:hand", mapping={"status": "pending_nodes", "journal": "default"})
    client.zadd(keys.ledger(EpisodeStatus.DEAD), {"ghost": 0})
    assert ledger.mend() == 2
    assert get_episodes_by_status("pending_nodes") == ["hand"]
    assert get_episodes_by_status("dead") == []
    assert ledger.mend() == 0


def test_whole_life(ledger: Ledger) -> None:
    """Saved, read for nodes, read for edges, gone."""
    put(ledger, "a")
    assert get_episode_status("a") == "pending_nodes"
    set_episode_status("a", "pending_edges", uuid_map={"new": "known"})
    assert ledger.statuses(["a", "b"]) == [EpisodeStatus.PENDING_EDGES, EpisodeStatus.DONE]
    assert ledger.finish("a", 1)
    assert ledger.statuses(["a"]) == [EpisodeStatus.DONE]
    assert default_client().exists(keys.episode("a")) == 0

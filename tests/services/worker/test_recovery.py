"""Nothing that waits is forgotten, and what nobody was told of is dropped."""

import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from backend.database.connection import default_client
from backend.database.stores import Stores
from backend.domain import Episode, EpisodeStatus, LedgerEntry
from backend.services.queue import WorkQueue
from backend.services.runtime import Runtime
from backend.services.worker.crashes import Leftover
from backend.services.worker.policy import MAX_CRASHES, MAX_KILLS
from backend.services.worker.recovery import drop_unacknowledged, purge, settle, wake_forgotten

JOURNAL = "default"
HOUR_S = 3600.0


@pytest.fixture
def stores(runtime_immediate: Runtime) -> Stores:
    """The stores of a fresh home with one journal."""
    runtime_immediate.stores.schema.ensure(JOURNAL)
    return runtime_immediate.stores


def save(stores: Stores, uuid: str, *, priority: int = 10, journal: str = JOURNAL) -> LedgerEntry:
    """An entry that waits."""
    now = datetime.now(UTC)
    stores.schema.ensure(journal)
    stores.episodes.create(Episode(uuid, journal, "text", "", now, now, 1, "screen"), priority=priority)
    entry = stores.ledger.get(uuid)
    assert entry is not None
    return entry


class SentMessages(WorkQueue):
    """A queue in which some messages wait, and that remembers what was sent."""

    def __init__(self, has_message: set[str]) -> None:
        self._has_message = has_message
        self.sent: list[tuple[str, float]] = []

    def awaited(self) -> set[str]:
        """Those that it was made with."""
        return self._has_message

    def send(self, uuid: str, journal: str, priority: int, delay_s: float = 0.0, *, with_draft: bool = False) -> None:
        """One message."""
        self.sent.append((uuid, delay_s))

    @property
    def uuids(self) -> list[str]:
        """To whom, in order."""
        return [uuid for uuid, _ in self.sent]


def look(stores: Stores, has_message: set[str], now_s: float | None = None) -> SentMessages:
    """One look at what waits."""
    queue = SentMessages(has_message)
    n = wake_forgotten(stores, queue, now_s=now_s or time.time(), stale_after_s=HOUR_S)
    assert n == len(queue.sent)
    return queue


def test_what_was_never_acknowledged_is_dropped(stores: Stores) -> None:
    """A ledger entry without a node, in a journal that is there or not; the others stay."""
    save(stores, "here")
    save(stores, "there", journal="other")
    with default_client().pipeline() as pipeline:
        stores.ledger.put(pipeline, "ghost", JOURNAL, revision=1)
        stores.ledger.put(pipeline, "ghost2", "nowhere", revision=1)
        pipeline.execute()
    assert drop_unacknowledged(stores) == 2
    assert set(stores.ledger.uuids(EpisodeStatus.PENDING_NODES)) == {"here", "there"}
    assert stores.schema.journals() == [JOURNAL, "other"]
    assert drop_unacknowledged(stores) == 0


def test_the_forgotten_are_woken_and_the_others_not(stores: Stores) -> None:
    """Who has a message needs none; who was given up gets none."""
    for uuid in ("lost", "queued", "dead"):
        save(stores, uuid)
    stores.ledger.move("dead", EpisodeStatus.DEAD)
    assert look(stores, {"queued"}).sent == [("lost", 0.0)]


def test_order_is_priority_then_age(stores: Stores) -> None:
    """What was just written goes before an imported backlog, and inside each the oldest first."""
    for uuid, priority in (("i1", 0), ("w1", 10), ("i2", 0), ("w2", 10)):
        save(stores, uuid, priority=priority)
    assert look(stores, set()).uuids == ["w1", "w2", "i1", "i2"]


def test_a_retry_for_later_stays_for_later(stores: Stores) -> None:
    """Its message is scheduled for when it is due."""
    save(stores, "a")
    now_s = time.time()
    stores.ledger.move("a", EpisodeStatus.PENDING_NODES, due_at_s=now_s + 8)
    assert look(stores, set(), now_s).sent == [("a", pytest.approx(8.0))]


def test_the_stale_are_woken_once_an_hour(stores: Stores) -> None:
    """A backlog of hours does not double its messages at every look."""
    begun_s = save(stores, "a").created_at_s
    woken = [look(stores, {"a"}, begun_s + minute * 60).uuids for minute in range(0, 200, 5)]
    times = [index * 5 for index, uuids in enumerate(woken) if uuids]
    assert 2 <= len(times) <= 3
    assert all(later - earlier >= 60 for earlier, later in pairwise(times))


def test_a_crash_and_a_kill_are_counted_apart(stores: Stores) -> None:
    """Until it is too many; then the entry is given up with the reason."""
    given_up: list[str] = []

    def give_up(entry: LedgerEntry, reason: str, **fields: int) -> None:
        given_up.append(reason)

    save(stores, "a")
    for _ in range(MAX_CRASHES - 1):
        settle(Leftover(("a",), "w", is_crash=True), stores, give_up)
    for _ in range(MAX_KILLS - 1):
        settle(Leftover(("a",), "w", is_crash=False), stores, give_up)
    entry = stores.ledger.get("a")
    assert entry is not None
    assert (entry.crashes, entry.kills, given_up) == (MAX_CRASHES - 1, MAX_KILLS - 1, [])
    settle(Leftover(("a",), "w", is_crash=True), stores, give_up)
    assert given_up == [f"reading it crashed the model's process {MAX_CRASHES} times"]


def test_a_death_over_an_entry_that_is_gone(stores: Stores) -> None:
    """Deleted, or read before the marker was taken away: nobody is blamed."""
    settle(Leftover(("gone",), "w", is_crash=True), stores, lambda *_, **__: pytest.fail("given up"))
    assert stores.ledger.get("gone") is None


def test_purge_keeps_what_is_young_enough(stores: Stores) -> None:
    """In every journal."""
    for journal in (JOURNAL, "other"):
        save(stores, journal, journal=journal)
        stores.episodes.delete(journal, journal, was_pending=True)
    time.sleep(0.001)
    assert purge(stores, 1) == 0
    assert purge(stores, 0) == 2

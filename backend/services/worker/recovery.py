"""What a worker does before its first task, and now and then after: nothing that waits is ever forgotten."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from backend.database.redis_ops import PENDING
from backend.database.stores import Stores
from backend.domain import EpisodeStatus, LedgerEntry
from backend.services.queue import WorkQueue
from backend.services.worker import policy
from backend.services.worker.crashes import Leftover

_log = logging.getLogger(__name__)


def settle(leftover: Leftover, stores: Stores, give_up: Callable[..., object]) -> None:
    """Count a death of the process against the entries that were being read; give up those with too many."""
    for uuid in leftover.uuids:
        entry = stores.ledger.get(uuid)
        if entry is not None and entry.status is not EpisodeStatus.DEAD:
            _settle(entry, leftover.is_crash, stores, give_up)


def _settle(entry: LedgerEntry, is_crash: bool, stores: Stores, give_up: Callable[..., object]) -> None:
    crashes, kills = entry.crashes + is_crash, entry.kills + (not is_crash)
    _log.warning("the process ended while reading %s (crash: %s)", entry.uuid, is_crash)
    decision = policy.after_death(crashes, kills)
    if isinstance(decision, policy.GiveUp):
        give_up(entry, decision.reason, crashes=crashes, kills=kills)
    else:
        stores.ledger.update(entry.uuid, {"crashes": crashes, "kills": kills})


def drop_unacknowledged(stores: Stores) -> int:
    """Forget ledger entries whose node was never written: nobody was told that they were saved. How many."""
    by_journal: dict[str, list[str]] = {}
    for entry in stores.ledger.entries(*PENDING):
        by_journal.setdefault(entry.journal, []).append(entry.uuid)
    n_dropped = 0
    for journal, uuids in by_journal.items():
        there = stores.episodes.existing(journal, uuids) if stores.schema.has(journal) else set()
        for uuid in set(uuids) - there:
            stores.ledger.remove(uuid)
            n_dropped += 1
    return n_dropped


def wake_forgotten(stores: Stores, queue: WorkQueue, *, now_s: float, stale_after_s: float) -> int:
    """Send a message for every entry that waits and has none, or has waited for too long; how many.

    What was just written goes first.
    """
    has_message = queue.awaited()
    waiting: list[LedgerEntry] = [
        entry
        for entry in stores.ledger.entries(*PENDING)
        if entry.uuid not in has_message or now_s - max(entry.created_at_s, entry.due_at_s) > stale_after_s
    ]
    waiting.sort(key=lambda entry: (-entry.priority, entry.created_at_s))
    for entry in waiting:
        if entry.uuid in has_message:
            # Not stale again for as long, or a long backlog would double its messages at every look.
            stores.ledger.update(entry.uuid, {"due_at": now_s})
        queue.send(entry.uuid, entry.journal, entry.priority, max(0.0, entry.due_at_s - now_s))
    return len(waiting)


def purge(stores: Stores, keep_days: int) -> int:
    """Remove for good what was deleted longer ago; how many entries."""
    before = datetime.fromtimestamp(time.time(), UTC) - timedelta(days=keep_days)
    return sum(stores.episodes.purge(journal, deleted_before=before) for journal in stores.schema.journals())

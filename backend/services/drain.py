"""`charlie work --drain`: everything that waits is read, here or by the worker that runs elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from backend.database.redis_ops import PENDING
from backend.domain import EpisodeStatus, Status, TokenCounts
from backend.services.launch import start_worker
from backend.services.runtime import Runtime

_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far a drain is."""

    done: int
    total: int
    status: Status


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain saw; `problem` tells why entries still wait."""

    # Entries that left the queue read, and those given up, by whatever process.
    read: int
    dead: int
    # Readings that failed and models that were loaded in this process.
    failed: int
    loads: int
    seconds: float
    pending: int
    tokens: TokenCounts
    # Resident memory of this process, MiB.
    rss_mb_before: float
    rss_mb_peak: float
    rss_mb_after: float
    problem: str = ""


def drain(runtime: Runtime, on_progress: Callable[[DrainProgress], None] = lambda _progress: None) -> DrainReport:
    """Have everything read that waits.

    Returns when nothing waits any more, or nothing can be read.
    """
    session = runtime.session
    started_s, rss_mb = time.monotonic(), [session.resident_mb()]
    tokens = session.manager.token_counts()
    ledger, tally = runtime.stores.ledger, session.reading.tally
    n_read, n_failed, n_dead = tally.read, tally.failed, ledger.count(EpisodeStatus.DEAD)
    total = ledger.count(*PENDING)
    problem = ""
    if total and runtime.settings.immediate:
        problem = "with immediate = true nothing reads by itself: unset CHARLIE_IMMEDIATE"
    elif total:
        # Whoever drains wants a worker, whatever the screen is to have.
        start_worker(runtime, "thread" if runtime.settings.worker == "none" else runtime.settings.worker)
    while not problem and not runtime.stopping.wait(_STEP_S):
        status = runtime.status()
        rss_mb.append(session.resident_mb())
        total = max(total, status.pending)
        on_progress(DrainProgress(total - status.pending, total, status))
        problem = status.problem
        if runtime.worker is not None and not runtime.worker.is_alive():
            problem = f"the worker ended unexpectedly: the reason is in {runtime.settings.logs_dir}"
        if status.pending == 0:
            break
    pending, dead = ledger.count(*PENDING), ledger.count(EpisodeStatus.DEAD) - n_dead
    return DrainReport(
        # An entry may come and be read between two looks; one that another process read is not in the tally.
        read=max(tally.read - n_read, total - pending - dead),
        dead=dead,
        failed=tally.failed - n_failed,
        loads=session.manager.status().loads,
        seconds=time.monotonic() - started_s,
        pending=pending,
        tokens=session.manager.token_counts() - tokens,
        rss_mb_before=rss_mb[0],
        rss_mb_peak=max(rss_mb),
        rss_mb_after=session.resident_mb(),
        problem=problem,
    )

"""Runs a reader over many texts, several at once where it reads several, and measures what that costs."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from threading import Event

from backend.graph.trial import Trial, run_trial
from optimizers.readers import OpenReader


@dataclass(frozen=True, slots=True)
class Cost:
    """What reading took on this machine."""

    # Seconds from a text's beginning to its end, beside `n_parallel - 1` others.
    median_s: float
    p95_s: float
    # Words of all texts by the seconds from first to last.
    words_s: float
    n_parallel: int
    # Seconds to load the model; memory of this process before that, and the most it has had so far, MiB. Of a server's
    # memory nothing is known.
    load_s: float
    memory_before_mb: float
    memory_peak_mb: float


@dataclass(frozen=True, slots=True)
class Run:
    """What a reader made of some texts, in their order, and how long all of them took."""

    trials: tuple[Trial, ...]
    n_words: int
    seconds: float

    def cost(self, *, n_parallel: int, load_s: float, memory_before_mb: float) -> Cost:
        """With what only the caller knows."""
        times = sorted(trial.seconds for trial in self.trials)
        return Cost(
            median_s=round(times[len(times) // 2], 4),
            p95_s=round(times[min(len(times) - 1, int(len(times) * 0.95))], 4),
            words_s=round(self.n_words / self.seconds, 1),
            n_parallel=n_parallel,
            load_s=round(load_s, 2),
            memory_before_mb=round(memory_before_mb, 1),
            memory_peak_mb=round(peak_mb(), 1),
        )


def run_all(
    opened: OpenReader, texts: Sequence[tuple[str, datetime]], *, stop: Event, on_done: Callable[[], None]
) -> Run:
    """A trial of every text with the moment it was written; `on_done` is called in this thread after each.

    After an error, and once `stop` is set, no further text is begun, and what is in work ends.

    Raises:
        Stopped: `stop` was set.
        ReadingUnavailable: the model cannot read any more.
    """
    started_s = time.perf_counter()
    with ThreadPoolExecutor(opened.n_parallel, "reading") as pool:
        futures = [
            pool.submit(run_trial, text, written, opened.reader, limit=opened.limit, stopping=stop.is_set)
            for text, written in texts
        ]
        try:
            for future in as_completed(futures):
                future.result()
                on_done()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    seconds = time.perf_counter() - started_s
    return Run(tuple(future.result() for future in futures), sum(len(text.split()) for text, _ in texts), seconds)


def peak_mb() -> float:
    """The most memory that this process has had in RAM, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024

"""Saving and listing: the journal's own service over the real server, every write synced."""

import time
from random import Random

from backend.database.connection import default_client
from frontend.loading.pages import load_top
from frontend.screens.home import PAGE_SIZE
from tests.bench.bench import Bench
from tests.bench.figures import Figure
from tests.bench.homes import ENTRY_WORDS, opened
from tests.bench.texts import text_of

_SIZES = (1_000, 5_000)
_THEIRS = {1_000: "1.5 ms", 5_000: "4.5 ms"}
_FLAT = 1.3
_WARM_UP = 20


def measure_saving(bench: Bench) -> list[Figure]:
    """Saving entries of 150 words, the message to the worker included; nobody reads them meanwhile."""
    count, random = bench.times(500, 100), Random(1)
    bench.say(f"save {count} entries")
    samples = []
    with opened(bench.homes.empty()) as runtime:
        for _ in range(count + _WARM_UP):
            text = text_of(random, ENTRY_WORDS)
            started_s = time.perf_counter()
            runtime.journal.add(text)
            samples.append(1000 * (time.perf_counter() - started_s))
        synced = default_client().config_get("appendfsync")["appendfsync"]
    if synced != "always":
        raise RuntimeError(f"the server syncs {synced}: what is saved is not on disk")
    theirs = "1.3 / 1.7 ms, not synced"
    return [Figure("save", "saving an entry, synced", "ms", samples[_WARM_UP:], {"median": 2, "p95": 4}, theirs)]


def measure_home(bench: Bench) -> list[Figure]:
    """The query of the home screen: the newest page with the status of each entry."""
    samples = {}
    for size in _SIZES:
        bench.say(f"home query, {size:,} entries")
        with opened(bench.homes.with_entries(size)) as runtime:
            times = []
            for _ in range(bench.times(200, 50) + _WARM_UP):
                started_s = time.perf_counter()
                page = load_top(runtime.journal, runtime.settings.journal, PAGE_SIZE)
                times.append(1000 * (time.perf_counter() - started_s))
                if len(page.episodes) != PAGE_SIZE:
                    raise RuntimeError(f"a page of {len(page.episodes)} entries")
            samples[size] = times[_WARM_UP:]
    growth = [large / small for large, small in zip(*(sorted(samples[size]) for size in reversed(_SIZES)), strict=True)]
    return [
        *(
            Figure(f"home.{size}", f"home query, {size:,} entries", "ms", samples[size], {"median": 2}, _THEIRS[size])
            for size in _SIZES
        ),
        Figure("home.growth", "  5,000 entries against 1,000", "x", growth, {"median": _FLAT}, "3.0 x"),
    ]

"""Reading an entry: the tagger itself, and everything beside a model, through the task that the worker runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from backend.graph.gold_file import read_gold
from backend.inference.loader import Kind
from backend.inference.manager import ModelManager
from backend.services.following import Following
from backend.services.queue import WorkQueue, huey
from backend.services.runtime import Runtime
from backend.services.worker.runner import ReadingService
from backend.settings import GOLD_PATH, load_settings
from tests.bench.bench import Bench
from tests.bench.figures import Figure
from tests.bench.homes import ENTRY_WORDS, GivenReader, opened
from tests.bench.texts import long_name, short_name, text_of

_SIZES = (100, 1_000, 5_000)
_THEIRS = {100: "12 ms", 1_000: "14 ms", 5_000: "19 ms"}
_THEIRS_SHORT = {100: "16 ms", 1_000: "45 ms", 5_000: "231 ms"}
_FLAT = 1.3
_WARM_UP = 10
_NOTE = "message, lease, resolving, writing, leaving the ledger; two entities are known, one is new"


class GivenManager(ModelManager):
    """Leases the tagger as ever, and hands out a reader that knows its answers in its place."""

    given: GivenReader

    @contextmanager
    def lease(self, kind: Kind) -> Iterator[Any]:
        """The given reader while the real one is held."""
        with super().lease(kind):
            yield self.given


class _NoQueue(WorkQueue):
    """Sends nothing: the messages that wait are taken one by one."""

    def send(self, uuid: str, journal: str, priority: int, delay_s: float = 0.0, *, with_draft: bool = False) -> None:
        """Nothing."""

    def next_up(self, n_most: int) -> list[str]:
        """Nobody: each is read alone."""
        return []


def measure_tagger(bench: Bench) -> list[Figure]:
    """The first 150 words of every tuning entry that has as many, several times over, after a round to warm up.

    People's own prose: made-up sentences have a quarter fewer tokens, and flatter.
    """
    bench.say("tagger")
    now = datetime.now(UTC)
    entries = [entry.text.split(" ") for entry in read_gold(GOLD_PATH)]
    texts = [" ".join(words[:ENTRY_WORDS]) for words in entries if len(words) >= ENTRY_WORDS]
    manager = ModelManager(load_settings(home=bench.homes.empty()), has_work=lambda: True)
    samples = []
    with manager.lease("tagger") as tagger:
        for number in range(bench.times(5, 2) + 1):
            for text in texts:
                started_s = time.perf_counter()
                tagger.read(text, now)
                if number:
                    samples.append(1000 * (time.perf_counter() - started_s))
    manager.unload_all()
    return [Figure("tagger", "tagger, 150 words of prose", "ms", samples, {"median": 60}, "-")]


def measure_episodes(bench: Bench) -> list[Figure]:
    """Work per episode beside the model, three entities, by how many entities are known."""
    long, short = {}, {}
    for size in _SIZES:
        bench.say(f"work beside the model, {size:,} entities")
        long[size] = _episodes(bench, bench.homes.copy_of(bench.homes.with_entities(size)), size, is_short=False)
        short[size] = _episodes(bench, bench.homes.copy_of(bench.homes.with_entities(size)), size, is_short=True)
    growth = [large / small for large, small in zip(sorted(long[5_000]), sorted(long[100]), strict=True)]
    return [
        *(
            Figure(
                f"episode.{size}",
                f"work beside the model, {size:,} entities",
                "ms",
                long[size],
                {"p95": 10},
                _THEIRS[size],
                _NOTE,
            )
            for size in _SIZES
        ),
        *(
            Figure(
                f"episode.short.{size}", f"  short names, {size:,}", "ms", short[size], {"p95": 10}, _THEIRS_SHORT[size]
            )
            for size in _SIZES
        ),
        Figure("episode.growth", "  5,000 entities against 100", "x", growth, {"median": _FLAT}, "1.6 x"),
    ]


def _episodes(bench: Bench, home: Path, size: int, *, is_short: bool) -> list[float]:
    count, random, reader = bench.times(150, 40) + _WARM_UP, Random(size), GivenReader()
    samples = []
    with opened(home) as runtime:
        manager = _use_given(runtime, reader)
        # One more than is read: what waits keeps the model loaded, as in a backlog.
        for number in range(count + 1):
            names = _names(random, size, number, is_short=is_short)
            runtime.journal.add(reader.expect(text_of(random, ENTRY_WORDS), names))
        for _ in range(count):
            started_s = time.perf_counter()
            outcome = huey.execute(huey.dequeue())
            samples.append(1000 * (time.perf_counter() - started_s))
            if outcome.get("extracted_count") != 3 or outcome["new_entities"] != 1:
                raise RuntimeError(f"a reading went wrong: {sorted(outcome)}")
        manager.unload_all()
    return samples[_WARM_UP:]


def _names(random: Random, size: int, number: int, *, is_short: bool) -> list[str]:
    """Two that the journal knows and one that it does not."""
    name = short_name if is_short else long_name
    known = random.sample(range(int(is_short), size, 2), 2)
    return [*(name(at) for at in known), name(size + 2 * number + is_short)]


def _use_given(runtime: Runtime, reader: GivenReader) -> GivenManager:
    work = runtime.session
    # The worker's own parts, but for who reads.
    manager = GivenManager(runtime.settings, has_work=lambda: work.reading.has_work(), on_change=work._on_model)
    manager.given = reader
    work.manager = manager
    work.reading = ReadingService(
        runtime.settings,
        runtime.stores,
        manager,
        runtime.events,
        work.crashes,
        _NoQueue(),
        Following(runtime.settings),
        on_change=work._on_change,
        stopping=runtime.stopping.is_set,
    )
    return manager

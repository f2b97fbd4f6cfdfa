"""What the self-test's child does: loads a model as the application does, reads annotated entries, says how it went."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from backend.errors import CharlieError, ModelTooLarge, Stopped
from backend.graph.extract_nodes import Reader
from backend.graph.gold import SELF_TEST_IDS, GoldEntry
from backend.graph.gold_file import read_gold
from backend.graph.scoring import score
from backend.graph.split import TextLimit
from backend.graph.trial import Trial, run_trial
from backend.inference.loader import Kind
from backend.inference.loading import ModelLoader
from backend.inference.memory import resident_mb
from backend.settings import GOLD_PATH, Settings, load_settings

type Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class _Open:
    """A loaded reader."""

    reader: Reader
    limit: TextLimit | None
    n_parallel: int


def main(arguments: Sequence[str]) -> int:
    """One JSON object a line on stdout; the last has the figures, or the reason why there are none."""
    asked = json.loads(arguments[0])
    out = os.dup(1)
    # Whatever a library prints is no line of ours.
    os.dup2(2, 1)

    def say(said: dict[str, Any]) -> None:
        os.write(out, json.dumps(said).encode() + b"\n")

    stop = threading.Event()
    threading.Thread(target=_await_end, args=(stop,), daemon=True).start()
    try:
        say(_test(asked, say, stop.is_set))
    except Stopped:
        return 1
    except CharlieError as error:
        say({"error": str(error), "is_memory": isinstance(error, ModelTooLarge)})
    return 0


def _await_end(stop: threading.Event) -> None:
    """Whoever started this closes our input when it is to end, or has ended itself."""
    sys.stdin.buffer.read()
    stop.set()


def _test(asked: dict[str, Any], say: Say, stopping: Callable[[], bool]) -> dict[str, Any]:
    chosen: dict[str, Any] = {"home": asked["home"]}
    if not asked["is_server"]:
        chosen |= {"llm_url": None, "llm_path": asked["llm_path"]}
    settings = load_settings(**chosen)
    by_id = {entry.id: entry for entry in read_gold(GOLD_PATH)}
    entries = [by_id[id_] for id_ in SELF_TEST_IDS]
    tagger = _figures("tagger", settings, entries, say if asked["kind"] == "tagger" else _silent, stopping)
    model = tagger if asked["kind"] == "tagger" else _figures("llm", settings, entries, say, stopping)
    if asked["is_server"]:
        model = {**model, "memory_mb": None}
    return {"tagger": tagger, "model": model}


def _silent(_said: dict[str, Any]) -> None:
    """The tagger is through in a second."""


def _figures(
    kind: Kind, settings: Settings, entries: Sequence[GoldEntry], say: Say, stopping: Callable[[], bool]
) -> dict[str, Any]:
    before_mb, began_s = resident_mb(), time.perf_counter()
    say({"doing": "loading", "done": 0, "of": len(entries)})
    with _opened(kind, settings, stopping) as opened:
        load_s = time.perf_counter() - began_s
        say({"doing": "reading", "done": 0, "of": len(entries)})
        started_s = time.perf_counter()
        trials = _read(opened, entries, say, stopping)
        seconds = time.perf_counter() - started_s
        memory_mb = resident_mb() - before_mb
    report = score(entries, trials)
    f1 = report.exact.typed.f1
    return {
        "f1": f1.value,
        "f1_low": f1.low,
        "f1_high": f1.high,
        "f1_untyped": report.exact.untyped.f1.value,
        "valid": report.answers.value if report.answers else None,
        "seconds_an_entry": seconds / len(entries),
        "load_s": load_s,
        "memory_mb": max(0.0, memory_mb),
        "n_parallel": opened.n_parallel,
    }


@contextmanager
def _opened(kind: Kind, settings: Settings, stopping: Callable[[], bool]) -> Iterator[_Open]:
    loaded = ModelLoader(settings, stopping).load(kind, lambda _done: not stopping())
    try:
        if kind == "tagger":
            yield _Open(loaded.reader, None, 1)
        else:
            from backend.graph.llm_reader import LlmReader  # dspy: 0.6 s and 49 MB

            reader = LlmReader(loaded.reader, loaded.reader.weights)
            yield _Open(reader, reader.limit, loaded.n_parallel)
    finally:
        loaded.model.close()


def _read(opened: _Open, entries: Sequence[GoldEntry], say: Say, stopping: Callable[[], bool]) -> list[Trial]:
    """A trial of each, as many together as the application reads together."""

    def read(entry: GoldEntry) -> Trial:
        return run_trial(entry.text, entry.written, opened.reader, limit=opened.limit, stopping=stopping)

    with ThreadPoolExecutor(opened.n_parallel, "reading") as pool:
        futures = [pool.submit(read, entry) for entry in entries]
        try:
            for n_done, future in enumerate(as_completed(futures), 1):
                future.result()
                say({"doing": "reading", "done": n_done, "of": len(entries)})
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Scores a reader on gold entries and on the WNUT17 test split: `python -m optimizers.evaluate --help`."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

from backend.errors import CharlieError, GoldInvalid, Stopped
from backend.graph.gold import GoldEntry
from backend.graph.scoring import as_json, score
from backend.inference.memory import resident_mb
from optimizers import tables
from optimizers.command_line import is_url, positive, stop_on_interrupt
from optimizers.conll import Sentence, read_corpus, score_corpus
from optimizers.progress import progress
from optimizers.readers import OpenReader, open_reader
from optimizers.results import Document, document, write
from optimizers.runs import Cost, Run, run_all
from optimizers.sets import WNUT17, GoldSet, digest_of, may_be_shown, name_of, open_sets

_FOLDER: Final = Path(__file__).parent
_EXAMPLES: Final = """examples:
  python -m optimizers.evaluate --reader tagger --set tuning --wnut default
  python -m optimizers.evaluate --reader ~/models/qwen3-4b.gguf --set tuning --limit 10
  python -m optimizers.evaluate --reader http://127.0.0.1:8080/v1 --model qwen3 --set mine.jsonl --json

Settings of the application count where they are in the environment, such as CHARLIE_N_CTX_TOKENS, CHARLIE_N_PARALLEL,
CHARLIE_LLM_API_KEY and CHARLIE_ALLOW_REMOTE. No words of an entry are printed, unless --errors asks for them.
"""


class Evaluation:
    """One reader, loaded once, on one set after another."""

    def __init__(self, opened: OpenReader, options: argparse.Namespace, stop: Event, load_s: float, mb: float) -> None:
        self._opened = opened
        self._options = options
        self._stop = stop
        self._load_s = load_s
        self._memory_before_mb = mb
        self.documents: list[Document] = []

    def on_entries(self, gold: GoldSet) -> None:
        """Score on gold entries, print and keep the figures. Raises as `run_all`."""
        entries = self._unseen(gold)[: self._options.limit]
        run = self._run(gold.name, "entries", [(entry.text, entry.written) for entry in entries])
        report = score(entries, run.trials, seed=self._options.seed)
        what = {"name": gold.name, "sha256": gold.digest, "n": len(entries), "of": len(gold.entries)}
        cost = self._cost(run)
        self._keep(what, cost, as_json(report))
        if not self._options.json:
            tables.print_report(f"{self._opened.name} on {gold.name}", report, cost)
            if self._options.errors:
                tables.print_errors(entries, run.trials)

    def on_corpus(self, path: Path, sentences: Sequence[Sentence]) -> None:
        """Score on sentences of a corpus, print and keep the figures. Raises as `run_all`."""
        chosen = sentences[: self._options.limit]
        # Tweets and comments have no time of writing; no reader of names needs one.
        some_day = datetime(2017, 1, 1, tzinfo=UTC)
        name = name_of(path)
        run = self._run(name, "sentences", [(sentence.text, some_day) for sentence in chosen])
        report = score_corpus(chosen, run.trials, seed=self._options.seed)
        what = {"name": name, "split": "test", "sha256": digest_of(path), "n": len(chosen), "of": len(sentences)}
        cost = self._cost(run)
        self._keep(what, cost, as_json(report))
        if not self._options.json:
            tables.print_corpus(f"{self._opened.name} on {name}, test split", report, cost)

    def _unseen(self, gold: GoldSet) -> Sequence[GoldEntry]:
        """The entries, but for those that the reader's prompt tells the answer of; GoldInvalid where none is left."""
        entries = [entry for entry in gold.entries if entry.text not in self._opened.demonstrated]
        if n_told := len(gold.entries) - len(entries):
            _say(f"{gold.name}: {n_told} entries stand in this reader's prompt as demonstrations, and are left out")
        if not entries:
            raise GoldInvalid((f"{gold.name}: no entry is left to score this reader on",))
        return entries

    def _run(self, name: str, noun: str, texts: Sequence[tuple[str, datetime]]) -> Run:
        n_done = 0
        try:
            with progress(name, len(texts)) as shown:
                try:
                    return run_all(self._opened, texts, stop=self._stop, on_done=shown.tick)
                finally:
                    n_done = shown.done
        except (CharlieError, Stopped, KeyboardInterrupt):
            _say(f"{name}: {n_done} of {len(texts)} {noun} were read; nothing was written of them")
            raise

    def _cost(self, run: Run) -> Cost:
        return run.cost(
            n_parallel=self._opened.n_parallel, load_s=self._load_s, memory_before_mb=self._memory_before_mb
        )

    def _keep(self, what: dict[str, Any], cost: Cost, scores: dict[str, Any]) -> None:
        made = document(self._opened, what, cost, scores, seed=self._options.seed)
        self.documents.append(made)
        write(made, self._options.out, limit=self._options.limit)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 with the reason on stderr, 2 for wrong use, 130 when it was stopped."""
    options = _options(arguments)
    try:
        with stop_on_interrupt() as stop:
            documents = evaluate(options, stop)
    except (Stopped, KeyboardInterrupt):
        _say("stopped")
        return 130
    except CharlieError as error:
        _say(str(error))
        return 1
    except OSError as error:
        _say(f"{error.filename or 'output'}: {error.strerror}")
        return 1
    if options.json:
        print(json.dumps(documents, indent=1))
    return 0


def evaluate(options: argparse.Namespace, stop: Event) -> list[Document]:
    """All that the options ask for; everything is checked before the model is loaded."""
    golds = open_sets(options.set)
    if options.errors and not all(may_be_shown(gold) for gold in golds):
        raise CharlieError("--errors is not for the reporting set: nobody looks at it, or its figures mean nothing")
    corpus = read_corpus(options.wnut, "test") if options.wnut else []
    memory_before_mb = resident_mb()
    started_s = time.perf_counter()
    with ExitStack() as held:
        with progress("loading", 100) as shown:
            reader = open_reader(
                options.reader,
                model=options.model,
                runs=options.runs,
                stopping=stop.is_set,
                on_loading=lambda done: shown.reach(int(100 * done)),
            )
            opened = held.enter_context(reader)
        evaluation = Evaluation(opened, options, stop, time.perf_counter() - started_s, memory_before_mb)
        for gold in golds:
            evaluation.on_entries(gold)
        if options.wnut:
            evaluation.on_corpus(options.wnut, corpus)
    return evaluation.documents


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m optimizers.evaluate",
        description="Scores a reader on gold journal entries: what it finds, what it makes up, and what that costs.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--reader", required=True, help="tagger (the shipped one), a GGUF file, or the URL of an inference server")
    add("--model", help="which of the server's models; not needed where it serves one")
    add("--set", action="append", default=[], metavar="SET", help="tuning, reporting, or a file; may be repeated")
    add("--wnut", metavar="FILE", help="score on the test split of this corpus too; 'default' is WNUT17")
    add("--limit", type=positive, metavar="N", help="only the first N entries (and sentences) of each set")
    add("--seed", type=int, default=0, help="of the intervals (default: 0)")
    add("--errors", action="store_true", help="print what was missed and what was spurious; not for the reporting set")
    add("--json", action="store_true", help="print the results as JSON in place of tables")
    add("--out", type=Path, default=_FOLDER / "results", metavar="DIR", help="where results go (optimizers/results)")
    add("--runs", type=Path, default=_FOLDER / "runs", metavar="DIR", help="what is remembered of models goes here")
    options = parser.parse_args(arguments)
    if not options.set and not options.wnut:
        parser.error("say what to score on: --set tuning, --set FILE or --wnut default")
    if options.model and not is_url(options.reader):
        parser.error("--model names a model of a server: give the server's URL as --reader")
    if options.wnut:
        options.wnut = WNUT17 if options.wnut == "default" else Path(options.wnut)
    return options


def _say(message: str) -> None:
    for line in message.splitlines():
        print(f"evaluate: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

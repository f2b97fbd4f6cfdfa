"""Scores as tables for people, on stdout."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from backend.graph.bootstrap import Score
from backend.graph.gold import GoldEntry
from backend.graph.matching import Marked
from backend.graph.reliability import Reliability
from backend.graph.scoring import MentionScores, Report, Share
from backend.graph.trial import Trial
from backend.text import for_terminal
from optimizers.conll import CorpusReport
from optimizers.runs import Cost

type Row = tuple[str, Score]

_WIDTH = 100


def print_report(title: str, report: Report, cost: Cost) -> None:
    """A reader on a set of entries."""
    rows = [*_mention_rows("exact", report.exact), *_mention_rows("overlap", report.overlap)]
    rows.append(("identities, of mentions found", report.identities.matched))
    rows.append(("identities, of all mentions", report.identities.all))
    if report.relations is not None:
        rows.append(("relations, typed", report.relations.typed))
        rows.append(("relations, untyped", report.relations.untyped))
        rows.append(("relations, typed, with evidence", report.relations.typed_with_evidence))
        rows.append(("relations, untyped, with evidence", report.relations.untyped_with_evidence))
    console = _console()
    console.print(_table(f"{title}: {report.n_entries} entries, {report.n_words:,} words", rows))
    if report.relations is None:
        console.print("relations: not offered by this reader")
    console.print(f"places with these very words in the text: {_share(report.evidence)}")
    console.print(f"made-up entities: {_share(report.made_up)}")
    answers = "this reader writes no answers" if report.answers is None else _share(report.answers)
    console.print(f"first answers that fit their schema: {answers}")
    if report.reliability is not None:
        _print_reliability(console, report.reliability)
    _print_cost(console, cost, "an entry")


def _print_reliability(console: Console, found: Reliability) -> None:
    table = Table(title="how sure, and how often right", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("confidence", "mentions", "mean confidence", "right"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found.bins:
        table.add_row(f"{one.low:.2f}-{one.high:.2f}", f"{one.n:,}", f"{one.confidence:.3f}", f"{one.right:.3f}")
    console.print(table)
    console.print(f"expected calibration error: {found.error:.3f}")


def print_corpus(title: str, report: CorpusReport, cost: Cost) -> None:
    """A reader on a corpus of sentences."""
    console = _console()
    heading = f"{title}: {report.n_sentences:,} sentences, {report.n_tokens:,} tokens"
    console.print(_table(heading, list(_mention_rows("exact", report.exact))))
    console.print(f"names found that cut a token, left out: {report.n_cut}")
    _print_cost(console, cost, "a sentence")


def print_errors(entries: Sequence[GoldEntry], trials: Sequence[Trial]) -> None:
    """What was missed and what was found that is none, a line an entry and kind; never for the reporting set."""
    for entry, trial in zip(entries, trials, strict=True):
        gold = {Marked(one.start, one.end, one.type) for one in entry.mentions}
        found = set(trial.marked)
        for sign, marked in (("missed", gold - found), ("spurious", found - gold)):
            words = ", ".join(f"{entry.text[one.start : one.end]} ({one.type})" for one in sorted(marked))
            if words:
                print(for_terminal(f"{entry.id}\t{sign}\t{' '.join(words.split())}"))


def _mention_rows(how: str, scores: MentionScores) -> Iterator[Row]:
    yield f"{how}, typed", scores.typed
    yield f"{how}, untyped", scores.untyped
    for type_, score in scores.types.items():
        yield f"{how}, {type_}", score


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for column in ("F1", "95 %", "precision", "recall", "right", "found", "gold"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, score in rows:
        if not score.n_found and not score.n_gold:
            table.add_row(name, *["-"] * 4, "0", "0", "0")
            continue
        table.add_row(
            name,
            f"{score.f1.value:.3f}",
            f"{score.f1.low:.3f}-{score.f1.high:.3f}",
            f"{score.precision.value:.3f}",
            f"{score.recall.value:.3f}",
            f"{score.n_right:,.0f}",
            f"{score.n_found:,}",
            f"{score.n_gold:,}",
        )
    return table


def _print_cost(console: Console, cost: Cost, what: str) -> None:
    together = f", {cost.n_parallel} together" if cost.n_parallel > 1 else ""
    console.print(
        f"{what}: {cost.median_s:.3f} s in the median, {cost.p95_s:.3f} s at the 95th percentile{together}; "
        f"{cost.words_s:,.0f} words/s"
    )
    console.print(
        f"loaded in {cost.load_s:.2f} s; memory {cost.memory_before_mb:,.0f} MB before, "
        f"{cost.memory_peak_mb:,.0f} MB at the most"
    )
    console.print()


def _share(share: Share) -> str:
    return f"{share.n:,} of {share.of:,}" + ("" if share.value is None else f" ({share.value:.1%})")


def _console() -> Console:
    # To a file or a pipe rich assumes 80 columns, and would cut the tables.
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH
    return console

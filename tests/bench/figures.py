"""What a benchmark gives back: samples, judged against a target; and the table and file they end up in."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

type Statistic = Literal["median", "p95", "p99"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    # Dotted, the first part is the group: `start.5000`.
    name: str
    # What is measured, in words; `unit` is "s", "ms", "MiB", "%", "x" or "/s".
    what: str
    unit: str
    samples: Sequence[float]
    # Which statistic has to be under which value; empty for what is only there to compare with.
    under: Mapping[Statistic, float] = field(default_factory=dict)
    # The first public implementation of this design, as it was measured on 2 cores.
    theirs: str = ""
    # How it was measured, where the words above do not say.
    note: str = ""

    def value(self, statistic: Statistic) -> float:
        """A statistic of the samples, by nearest rank."""
        if statistic == "median":
            return median(self.samples)
        share = {"p95": 0.95, "p99": 0.99}[statistic]
        return sorted(self.samples)[max(0, math.ceil(share * len(self.samples)) - 1)]

    @property
    def is_met(self) -> bool | None:
        """Whether every target is reached; None where there is none."""
        if not self.under:
            return None
        return all(self.value(statistic) < limit for statistic, limit in self.under.items())

    @property
    def target(self) -> str:
        """The targets in words."""
        parts = [f"{statistic} < {limit:g} {self.unit}" for statistic, limit in self.under.items()]
        return ", ".join(part.removeprefix("median ") for part in parts)

    def as_json(self) -> dict[str, object]:
        """The line as `results.json` holds it."""
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "median": _rounded(self.value("median")),
            "p95": _rounded(self.value("p95")),
            "p99": _rounded(self.value("p99")),
            "runs": len(self.samples),
            "target": dict(self.under),
            "met": self.is_met,
            "theirs": self.theirs,
            "note": self.note,
        }


def table(figures: Sequence[Figure]) -> str:
    """The figures as one table."""
    head = ("what", "that implementation", "target", "median", "p95", "n", "met?")
    rows = [head, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def write(path: Path, figures: Sequence[Figure], machine: Mapping[str, object]) -> None:
    """The figures and the machine they were taken on, as JSON; groups measured before on this machine stay."""
    groups = {_group(figure.name) for figure in figures}
    former = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    is_same = all(former.get("machine", {}).get(fact) == machine[fact] for fact in ("cores", "cpu", "memory_gib"))
    kept = former.get("figures", []) if is_same else []
    others = [line for line in kept if _group(line["name"]) not in groups]
    held = {"machine": machine, "figures": [*others, *(figure.as_json() for figure in figures)]}
    path.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _group(name: str) -> str:
    return name.split(".")[0]


def _cells(figure: Figure) -> tuple[str, ...]:
    worst = figure.value("p95")
    met = {True: "yes", False: "NO", None: ""}[figure.is_met]
    p99 = f" (p99 {_shown(figure.value('p99'), figure.unit)})" if "p99" in figure.under else ""
    shown = _shown(figure.value("median"), figure.unit), _shown(worst, figure.unit) + p99
    return figure.what, figure.theirs, figure.target, *shown, str(len(figure.samples)), met


def _shown(value: float, unit: str) -> str:
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")

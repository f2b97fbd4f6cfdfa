"""Pure: whether a reader that is 90 % sure is right nine times in ten."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from backend.graph.gold import GoldEntry
from backend.graph.trial import Trial

# Edges of confidence; what lies below a half is rare and stands together.
_EDGES: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class Bin:
    """The mentions that a reader was about so sure of."""

    # Confidence, from `low` up to `high`.
    low: float
    high: float
    n: int
    # Their mean confidence, and the share of them that is right: place and type.
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reader's confidence against what came of it."""

    bins: tuple[Bin, ...]
    # Mean distance of confidence and share over all mentions: the expected calibration error (Naeini et al. 2015).
    error: float


def reliability(entries: Sequence[GoldEntry], trials: Sequence[Trial]) -> Reliability | None:
    """The table of a reader that tells how sure it is; None of one that says the same of everything."""
    judged: list[tuple[float, bool]] = []
    for entry, trial in zip(entries, trials, strict=True):
        gold = {(one.start, one.end, one.type) for one in entry.mentions}
        judged += [
            (span.confidence, (span.start, span.end, entity.type) in gold)
            for entity in trial.found
            for span in entity.spans
        ]
    if len({confidence for confidence, _ in judged}) < 2:
        return None
    bins = []
    for low, high in pairwise(_EDGES):
        within = [one for one in judged if low <= one[0] < high or one[0] == high == 1.0]
        if within:
            sure, right = (sum(column) / len(within) for column in zip(*within, strict=True))
            bins.append(Bin(low, high, len(within), sure, right))
    return Reliability(tuple(bins), sum(one.n * abs(one.confidence - one.right) for one in bins) / len(judged))

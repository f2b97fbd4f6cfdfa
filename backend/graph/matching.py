"""Pure: which of the found mentions are those that were to be found."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backend.domain import EntityType
from backend.graph.bootstrap import Counts


class Marked(NamedTuple):
    """A stretch of a text and what it is; code points, or words where both sides count words. End exclusive."""

    start: int
    end: int
    type: EntityType


def overlaps(found: Sequence[Marked], gold: Sequence[Marked]) -> Iterator[tuple[int, int]]:
    """Pairs (index in `found`, index in `gold`) that share a character, each mention in one pair at most.

    Both sides are in the order of the text and without overlaps of their own; then no other choice has more pairs:
    of two that overlap, the one that ends first has nobody else left.
    """
    n_found = n_gold = 0
    while n_found < len(found) and n_gold < len(gold):
        one, other = found[n_found], gold[n_gold]
        if one.start < other.end and other.start < one.end:
            yield n_found, n_gold
            n_found, n_gold = n_found + 1, n_gold + 1
        elif one.end <= other.end:
            n_found += 1
        else:
            n_gold += 1


def exact_counts(found: Sequence[Marked], gold: Sequence[Marked], *, typed: bool) -> Counts:
    """Found at the same place to the character; with `typed`, of the same type too."""
    right = set(found) & set(gold) if typed else {one[:2] for one in found} & {one[:2] for one in gold}
    n_right = len(right)
    return n_right, len(found), n_right, len(gold)


def overlap_counts(found: Sequence[Marked], gold: Sequence[Marked], *, typed: bool) -> Counts:
    """Found at a place that shares a character; with `typed`, of the same type too."""
    if typed:
        n_right = sum(len(list(overlaps(of_type(found, type_), of_type(gold, type_)))) for type_ in EntityType)
    else:
        n_right = len(list(overlaps(found, gold)))
    return n_right, len(found), n_right, len(gold)


def of_type(marked: Sequence[Marked], type_: EntityType) -> list[Marked]:
    """Those of one type."""
    return [one for one in marked if one.type is type_]

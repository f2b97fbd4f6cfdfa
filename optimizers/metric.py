"""How good an answer is, as one number for the optimizers to climb, and in words for those that reflect.

    score = 2 * credit / (marked + 2 * made up + to be found)

An F1 with partial credit: a place that is right to the character and in its type earns 1, with the wrong type a half;
one that only overlaps a half, or a quarter. Every place that is marked and not to be found counts against the answer,
and a name that stands nowhere in the text counts double: a reader that makes things up must not win by finding more.
The answer goes through the steps of the application first (names cleaned, places looked up, overlaps resolved).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dspy

from backend.graph.extract_nodes import clean, join, verify
from backend.graph.gold import GoldEntry
from backend.graph.llm_reader import found_in, written_on
from backend.graph.matching import Marked, overlaps
from backend.graph.signatures import NamedThing

WRONG_TYPE: Final = 0.5
OVERLAP: Final = 0.5
MADE_UP_WEIGHT: Final = 2
# More than this of a kind tell a reflecting model nothing new.
_MOST_NAMED: Final = 12


@dataclass(frozen=True, slots=True)
class Judgement:
    """An answer against what was to be found; surfaces in quotes with their types, in the order of the text."""

    score: float
    # For exact, typed F1 over many entries.
    n_right: int
    n_found: int
    n_gold: int
    missed: tuple[str, ...]
    spurious: tuple[str, ...]
    mistyped: tuple[str, ...]
    misplaced: tuple[str, ...]
    made_up: tuple[str, ...]

    @property
    def feedback(self) -> str:
        """What to do better, in words."""
        told = [
            _told("Not in the entry at all, so made up", self.made_up),
            _told("Missed", self.missed),
            _told("Marked, and should not be", self.spurious),
            _told("Marked with the wrong type", self.mistyped),
            _told("Marked with too many or too few words", self.misplaced),
        ]
        said = " ".join(filter(None, told)) or "Everything was found, and nothing else."
        return f"Score {self.score:.2f}. {said}"


def example_of(entry: GoldEntry) -> Any:
    """A gold entry as a `dspy.Example`: inputs of the signature, its best answer, and what the metric needs."""
    things = dict.fromkeys((mention.surface, mention.type.value) for mention in entry.mentions)
    return dspy.Example(
        written_on=written_on(entry.written),
        entry=entry.text,
        entities=[NamedThing(surface=surface, type=type_) for surface, type_ in things],  # type: ignore[arg-type]
        gold=tuple(Marked(mention.start, mention.end, mention.type) for mention in entry.mentions),
    ).with_inputs("written_on", "entry")


def judge(text: str, things: Iterable[NamedThing], gold: Sequence[Marked]) -> Judgement:
    """An answer against `gold`, the places to be found, in the order of the text."""
    named = [found_in(thing, text) for thing in things]
    made_up = [entity for entity in named if not entity.spans]
    found = sorted(
        Marked(span.start, span.end, entity.type)
        for entity in join(verify(clean(named), text))
        for span in entity.spans
    )
    left, unfound, mistyped, misplaced, credit = _matched(found, gold, text)
    n_right = len(set(found) & set(gold))
    total = len(found) + MADE_UP_WEIGHT * len(made_up) + len(gold)
    return Judgement(
        score=2 * credit / total if total else 1.0,
        n_right=n_right,
        n_found=len(found) + len(made_up),
        n_gold=len(gold),
        missed=_surfaces(unfound, text),
        spurious=_surfaces(left, text),
        mistyped=tuple(mistyped),
        misplaced=tuple(misplaced),
        made_up=tuple(dict.fromkeys(f'"{entity.name}"' for entity in made_up)),
    )


def metric(
    example: Any,
    answer: Any,
    trace: Any = None,  # noqa: ARG001 # DSPy's optimizers call every metric with these
    pred_name: str | None = None,
    pred_trace: Any = None,  # noqa: ARG001
) -> Any:
    """The score of an answer, 0 to 1; asked about a predictor (as GEPA does), with feedback beside it.

    An answer without entities is an empty one.
    """
    judged = judge(example.entry, getattr(answer, "entities", None) or (), example.gold)
    if pred_name is None:
        return judged.score
    return dspy.Prediction(score=judged.score, feedback=judged.feedback)


def _matched(
    found: Sequence[Marked], gold: Sequence[Marked], text: str
) -> tuple[list[Marked], list[Marked], list[str], list[str], float]:
    """What is left of both sides, what earned part of the credit, and the credit."""
    wanted = {one[:2]: one.type for one in gold}
    exact = [one for one in found if one[:2] in wanted]
    taken = {one[:2] for one in exact}
    wrong = [one for one in exact if wanted[one[:2]] is not one.type]
    credit = len(exact) - (1 - WRONG_TYPE) * len(wrong)
    mistyped = [f"{_quoted(one, text)} is a {wanted[one[:2]]}" for one in wrong]
    rest = [one for one in found if one[:2] not in taken]
    open_ = [one for one in gold if one[:2] not in taken]
    pairs = [(rest[n], open_[m]) for n, m in overlaps(rest, open_)]
    credit += sum(OVERLAP * (1.0 if one.type is other.type else WRONG_TYPE) for one, other in pairs)
    misplaced = [f"{_quoted(one, text)} should be {_quoted(other, text)}" for one, other in pairs]
    halves, others = {one for one, _ in pairs}, {other for _, other in pairs}
    left = [one for one in rest if one not in halves]
    return left, [one for one in open_ if one not in others], mistyped, misplaced, credit


def _quoted(marked: Marked, text: str) -> str:
    return f'"{text[marked.start : marked.end]}" ({marked.type})'


def _surfaces(marked: Iterable[Marked], text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_quoted(one, text) for one in marked))


def _told(what: str, surfaces: Sequence[str]) -> str:
    if not surfaces:
        return ""
    more = len(surfaces) - _MOST_NAMED
    shown = "; ".join(surfaces[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
    return f"{what}: {shown}."

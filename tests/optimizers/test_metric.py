"""The number that optimizers climb: what it rewards, and what it does not let pass."""

from datetime import UTC, datetime

import dspy
import pytest

from backend.domain import EntityType
from backend.graph.gold import GoldEntry, GoldMention
from backend.graph.signatures import NamedThing
from optimizers.metric import example_of, judge, metric

TEXT = "Lunch with Sarah Lee at the Riverside Club. Sarah Lee paid."
MENTIONS = (("Lunch", "Activity"), ("Sarah Lee", "Person"), ("Riverside Club", "Place"), ("Sarah Lee", "Person"))


def gold_entry() -> GoldEntry:
    """The text with four mentions of three."""
    start, mentions = 0, []
    for surface, type_ in MENTIONS:
        start = TEXT.index(surface, start)
        mentions.append(GoldMention(start, surface, EntityType(type_), surface))
        start += len(surface)
    return GoldEntry("a-1", "a", datetime(2024, 3, 1, tzinfo=UTC), TEXT, tuple(mentions), (), ())


EXAMPLE = example_of(gold_entry())


def score(*things: tuple[str, str]) -> float:
    """What an answer with these entities is given."""
    answer = [NamedThing(surface=surface, type=type_) for surface, type_ in things]  # type: ignore[arg-type]
    found = metric(EXAMPLE, dspy.Prediction(entities=answer))
    assert isinstance(found, float)
    return found


RIGHT = (("Lunch", "Activity"), ("Sarah Lee", "Person"), ("Riverside Club", "Place"))


def test_best_answer_is_full_marks() -> None:
    """Every place, to the character, with its type; a name listed once stands for all its places."""
    assert score(*RIGHT) == 1.0
    assert [(one.surface, one.type) for one in EXAMPLE.entities] == list(RIGHT)


def test_nothing_found() -> None:
    """No marks for an empty answer, nor for one that could not be used."""
    assert score() == 0.0
    assert metric(EXAMPLE, dspy.Prediction()) == 0.0


def test_nothing_to_be_found() -> None:
    """An entry that names nothing is read rightly by saying nothing, and not by saying something."""
    assert judge("Slept badly.", [], []).score == 1.0
    assert judge("Slept badly.", [NamedThing(surface="Slept", type="Activity")], []).score == 0.0


def test_wrong_type_earns_half() -> None:
    """The place is right and the type is not: half of what it would earn, here of 2 * 3.5 / 8."""
    assert score(RIGHT[0], RIGHT[1], ("Riverside Club", "Group")) == pytest.approx(2 * 3.5 / 8)


def test_overlap_earns_half_and_a_quarter() -> None:
    """Too few words with the right type earn a half, with the wrong one a quarter."""
    assert score(RIGHT[0], RIGHT[1], ("Riverside", "Place")) == pytest.approx(2 * 3.5 / 8)
    assert score(RIGHT[0], RIGHT[1], ("Riverside", "Group")) == pytest.approx(2 * 3.25 / 8)


def test_made_up_costs_more_than_wrong() -> None:
    """A name that stands nowhere costs twice what a word costs that stands there and should not be marked."""
    wrong, made_up = score(*RIGHT, ("paid", "Activity")), score(*RIGHT, ("Brenda", "Person"))
    assert wrong == pytest.approx(2 * 4 / 9)
    assert made_up == pytest.approx(2 * 4 / 10)


def test_marking_everything_does_not_pay() -> None:
    """Every word marked finds what is to be found, and is worth less than leaving a third of it out."""
    every = [(word.strip("."), "Person") for word in TEXT.split()]
    assert score(*RIGHT, *every) < score(*RIGHT[:2])


def test_always_between_0_and_1() -> None:
    """Any number of made-up and repeated names stays in the range."""
    made_up = [(f"Nobody {number}", "Person") for number in range(60)]
    assert 0.0 <= score(*made_up) < score(*RIGHT, *made_up) < 0.2
    assert score(*RIGHT, *RIGHT) == 1.0


def test_feedback_names_what_was_wrong() -> None:
    """Asked about a predictor, the metric says in words what was missed, spurious, mistyped, misplaced, made up."""
    things = [("Sarah", "Person"), ("Riverside Club", "Group"), ("paid", "Activity"), ("Brenda", "Person")]
    answer = [NamedThing(surface=surface, type=type_) for surface, type_ in things]  # type: ignore[arg-type]
    said = metric(EXAMPLE, dspy.Prediction(entities=answer), None, "find", None)
    assert said.score == score(*things)
    assert 'made up: "Brenda"' in said.feedback
    assert 'Missed: "Lunch" (Activity)' in said.feedback
    assert 'should not be: "paid" (Activity)' in said.feedback
    assert '"Riverside Club" (Group) is a Place' in said.feedback
    assert '"Sarah" (Person) should be "Sarah Lee" (Person)' in said.feedback


def test_feedback_on_a_perfect_answer() -> None:
    """There is something to say of it too."""
    said = metric(EXAMPLE, dspy.Prediction(entities=EXAMPLE.entities), None, "find", None)
    assert said.feedback == "Score 1.00. Everything was found, and nothing else."

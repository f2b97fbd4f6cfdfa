"""Whether confidence is the share that is right."""

from datetime import UTC, datetime

import pytest

from backend.domain import EntityType, FoundEntity, Span
from backend.graph.gold import GoldEntry, GoldMention
from backend.graph.reliability import reliability
from backend.graph.trial import Trial

PERSON = EntityType.PERSON


def entry(n_people: int) -> GoldEntry:
    """An entry that names so many people, a letter each."""
    mentions = tuple(GoldMention(2 * at, "A", PERSON, f"a{at}") for at in range(n_people))
    return GoldEntry("e1", "somebody", datetime(2024, 1, 1, tzinfo=UTC), "A " * 10, mentions, (), ())


def trial(confidences: list[float]) -> Trial:
    """Somebody found at each letter, with such confidence."""
    spans = tuple(Span(2 * at, 2 * at + 1, "A", sure) for at, sure in enumerate(confidences))
    return Trial((FoundEntity("A", PERSON, spans),), 0.1, 0, 0, len(spans), len(spans), 1, 0)


def test_bins_and_error() -> None:
    """Two of three that were 0.85 sure are right, and the one that was 0.3 sure is not."""
    found = reliability([entry(2)], [trial([0.85, 0.85, 0.85, 0.3])])
    assert found is not None
    low, high = found.bins
    assert (low.n, low.confidence, low.right) == (1, 0.3, 0)
    assert (high.n, high.low, high.high) == (3, 0.8, 0.9)
    assert high.right == pytest.approx(2 / 3)
    assert found.error == pytest.approx((0.3 + 3 * (0.85 - 2 / 3)) / 4)


def test_certainty_belongs_to_the_last_bin() -> None:
    """1.0 is counted."""
    found = reliability([entry(2)], [trial([1.0, 0.99])])
    assert found is not None
    assert [one.n for one in found.bins] == [2]


def test_who_is_always_sure_has_no_table() -> None:
    """A reader that gives one confidence to everything says nothing with it."""
    assert reliability([entry(2)], [trial([1.0, 1.0])]) is None
    assert reliability([entry(2)], [trial([])]) is None

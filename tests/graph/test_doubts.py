"""Which names are sure enough."""

from backend.domain import Doubt, EntityType, FoundEntity, KnownName, Span
from backend.graph.doubts import sift

PERSON, PLACE = EntityType.PERSON, EntityType.PLACE


def named(name: str, *confidences: float, type_: EntityType = PERSON) -> FoundEntity:
    """A found entity with a place for each confidence."""
    spans = (Span(9 * at, 9 * at + len(name), name, confidence) for at, confidence in enumerate(confidences))
    return FoundEntity(name, type_, tuple(spans))


def test_what_is_less_sure_than_the_threshold_waits() -> None:
    """The threshold itself is sure enough; what waits keeps its name, type and places."""
    sure, unsure = sift([named("Anna", 0.5), named("Ben", 0.49)], [], 0.5)
    assert sure == (named("Anna", 0.5),)
    assert unsure == (Doubt("ben", "Ben", PERSON, named("Ben", 0.49).spans),)


def test_a_sure_place_makes_the_others_of_its_name_sure() -> None:
    """All places of the name stay together."""
    sure, unsure = sift([named("Anna", 0.2, 0.9)], [], 0.5)
    assert (sure, unsure) == ((named("Anna", 0.2, 0.9),), ())


def test_a_known_name_is_sure_as_the_type_it_is_known_as() -> None:
    """Florence is known as a person: as a place she is not."""
    known = [KnownName("florence", "uuid", PERSON)]
    person, place = named("Florence", 0.1), named("Florence", 0.1, type_=PLACE)
    assert sift([person, place], known, 0.5) == ((person,), (Doubt("florence", "Florence", PLACE, place.spans),))


def test_nothing_waits_at_zero_and_whoever_is_certain_never() -> None:
    """A threshold of 0 switches review off; readers that do not say how sure they are say 1."""
    assert sift([named("Anna", 0.0)], [], 0.0) == ((named("Anna", 0.0),), ())
    assert sift([named("Anna", 1.0)], [], 1.0) == ((named("Anna", 1.0),), ())

"""Whether what was found is something known."""

from collections.abc import Callable
from itertools import count

import pytest

from backend.domain import EntityType, FoundEntity, KnownName, Span
from backend.graph.resolve import resolve


def found(name: str, type_: EntityType = EntityType.PERSON) -> FoundEntity:
    """An entity named once, at the beginning."""
    return FoundEntity(name, type_, (Span(0, len(name), name, 1.0),))


@pytest.fixture
def new_uuid() -> Callable[[], str]:
    """Counts: new1, new2, new3."""
    numbers = count(1)
    return lambda: f"new{next(numbers)}"


def test_unknown_names_are_new(new_uuid: Callable[[], str]) -> None:
    """Each gets a uuid of its own and the key it will be known by."""
    anna, ben = resolve([found("Anna"), found("BEN")], [], new_uuid)
    assert (anna.uuid, anna.is_new, anna.key) == ("new1", True, "anna")
    assert (ben.uuid, ben.is_new, ben.key) == ("new2", True, "ben")


def test_a_known_name_is_found_however_it_is_written(new_uuid: Callable[[], str]) -> None:
    """Case and possessive make no difference; no uuid is used up."""
    known = [KnownName("anna", "a", EntityType.PERSON)]
    (anna,) = resolve([found("ANNA’s")], known, new_uuid)
    assert (anna.uuid, anna.is_new) == ("a", False)
    assert new_uuid() == "new1"


def test_the_same_name_of_another_type_is_another_entity(new_uuid: Callable[[], str]) -> None:
    """Florence in Tuscany is not the neighbour."""
    known = [KnownName("florence", "neighbour", EntityType.PERSON)]
    person, place = resolve([found("Florence"), found("Florence", EntityType.PLACE)], known, new_uuid)
    assert (person.uuid, person.is_new) == ("neighbour", False)
    assert (place.uuid, place.is_new) == ("new1", True)


def test_of_several_the_one_known_longest(new_uuid: Callable[[], str]) -> None:
    """The order of what is known decides."""
    known = [KnownName("anna", "old", EntityType.PERSON), KnownName("anna", "young", EntityType.PERSON)]
    assert resolve([found("Anna")], known, new_uuid)[0].uuid == "old"


def test_one_new_name_found_twice_is_one_entity(new_uuid: Callable[[], str]) -> None:
    """Whoever forgets to join first does not make twins."""
    first, second = resolve([found("Anna"), found("anna")], [], new_uuid)
    assert first.uuid == second.uuid

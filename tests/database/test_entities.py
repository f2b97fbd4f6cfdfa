"""Who and what a journal mentions, counted over what is there and not over what was deleted."""

from datetime import UTC, datetime, timedelta

import pytest

from backend.database.entities import Entities
from backend.database.stores import Stores
from backend.domain import EntityType, Episode, FoundEntity, Provenance, ReaderKind, Span
from backend.graph.names import key_of
from backend.graph.resolve import resolve
from backend.services.runtime import Runtime

JOURNAL = "default"
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
PERSON, PLACE = EntityType.PERSON, EntityType.PLACE


@pytest.fixture
def stores(runtime: Runtime) -> Stores:
    """Three entries: Anna in all, Ben twice in the second, Rome in the last."""
    stores = runtime.stores
    stores.schema.ensure(JOURNAL)
    tell(stores, "1", ("Anna", PERSON, 1))
    tell(stores, "2", ("Anna", PERSON, 1), ("Ben", PERSON, 2))
    tell(stores, "3", ("Anna", PERSON, 1), ("Rome", PLACE, 1))
    return stores


@pytest.fixture
def entities(stores: Stores) -> Entities:
    """The entities of these."""
    return stores.entities


def tell(stores: Stores, uuid: str, *said: tuple[str, EntityType, int]) -> None:
    """An entry of the day `uuid` that names these so often."""
    when = NOW + timedelta(days=int(uuid))
    stores.episodes.create(Episode(uuid, JOURNAL, "text", "", when, NOW, 1, "screen"))
    found = [
        FoundEntity(name, type_, tuple(Span(10 * n, 10 * n + 4, name, 1.0) for n in range(times)))
        for name, type_, times in said
    ]
    known = stores.known(JOURNAL, {key_of(one.name) for one in found})
    resolved = resolve(found, known, lambda: f"{uuid}-{len(stores.known(JOURNAL, ['x']))}-{said[-1][0]}")
    provenance = Provenance(ReaderKind.TAGGER, "w", "")
    assert stores.write_reading(uuid, JOURNAL, 1, resolved, provenance, is_draft=False)


def test_most_mentioned_first(entities: Entities) -> None:
    """By mentions, then by name; with the days between which they occur."""
    found = entities.all(JOURNAL, None, 10, 0)
    assert [(one.name, one.n_episodes, one.n_mentions) for one in found] == [
        ("Anna", 3, 3),
        ("Ben", 1, 2),
        ("Rome", 1, 1),
    ]
    assert (found[0].first_at, found[0].last_at) == (NOW + timedelta(days=1), NOW + timedelta(days=3))


def test_of_one_type_and_in_pages(entities: Entities) -> None:
    """Limit and offset cut the same order."""
    assert [one.name for one in entities.all(JOURNAL, PLACE, 10, 0)] == ["Rome"]
    assert [one.name for one in entities.all(JOURNAL, EntityType.GROUP, 10, 0)] == []
    assert [one.name for one in entities.all(JOURNAL, None, 1, 1)] == ["Ben"]


def test_by_uuid_and_by_name(entities: Entities) -> None:
    """A name is asked for in the form that is compared."""
    (anna,) = entities.named(JOURNAL, key_of("ANNA’s"))
    assert entities.with_uuid(JOURNAL, anna.uuid) == (anna,)
    assert entities.named(JOURNAL, "nobody") == ()
    assert entities.with_uuid(JOURNAL, "nowhere") == ()


def test_known_names(entities: Entities) -> None:
    """Only those asked for; nothing asked, nothing found."""
    assert {name.key for name in entities.known(JOURNAL, {"anna", "rome", "carla"})} == {"anna", "rome"}
    assert entities.known(JOURNAL, set()) == []
    many = {f"name{n}" for n in range(5000)} | {"ben"}
    assert [name.key for name in entities.known(JOURNAL, many)] == ["ben"]


def test_deleted_entries_do_not_count(stores: Stores) -> None:
    """An entity that only they name is not listed, and counts again when they are back."""
    stores.episodes.delete("2", JOURNAL, was_pending=False)
    assert [(one.name, one.n_mentions) for one in stores.entities.all(JOURNAL, None, 10, 0)] == [
        ("Anna", 2),
        ("Rome", 1),
    ]
    assert stores.entities.named(JOURNAL, "ben") == ()
    stores.episodes.restore("2", JOURNAL, is_pending=False)
    assert [one.name for one in stores.entities.named(JOURNAL, "ben")] == ["Ben"]

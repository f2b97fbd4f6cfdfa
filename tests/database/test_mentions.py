"""A reading replaces the former one whole, never over a newer text, and never over what a person said."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from backend.database import cypher
from backend.database.connection import default_client
from backend.database.stores import Stores
from backend.domain import (
    Corrections,
    Doubt,
    EntityType,
    Episode,
    FoundEntity,
    KnownName,
    Origin,
    Provenance,
    ReaderKind,
    ResolvedEntity,
    Span,
)
from backend.graph.names import key_of
from backend.graph.resolve import resolve
from backend.services.runtime import Runtime

JOURNAL = "default"
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
TAGGER = Provenance(ReaderKind.TAGGER, "0123", "")
LLM = Provenance(ReaderKind.LLM, "4567", "89ab")


@pytest.fixture
def stores(runtime: Runtime) -> Stores:
    """The stores of a fresh home with one journal and one entry, `a`."""
    runtime.stores.schema.ensure(JOURNAL)
    save(runtime.stores, "a")
    return runtime.stores


def save(stores: Stores, uuid: str, text: str = "Anna met Ben in Rome") -> None:
    """An entry that waits."""
    stores.episodes.create(Episode(uuid, JOURNAL, text, "", NOW, NOW, 1, "screen"))


def found(stores: Stores, *names: str, type_: EntityType = EntityType.PERSON) -> tuple[ResolvedEntity, ...]:
    """These names, each found once and resolved against what is known."""
    entities = [FoundEntity(name, type_, (Span(at, at + len(name), name, 0.75),)) for at, name in enumerate(names)]
    return resolve(entities, stores.known(JOURNAL, {key_of(name) for name in names}), lambda: str(uuid4()))


def write(
    stores: Stores,
    uuid: str,
    entities: Sequence[ResolvedEntity],
    *,
    revision: int = 1,
    by: Provenance = TAGGER,
    is_draft: bool = False,
) -> bool:
    """Write a reading."""
    return stores.write_reading(uuid, JOURNAL, revision, entities, by, is_draft=is_draft)


def names(stores: Stores, uuid: str) -> list[str]:
    """What an entry mentions, by first mention."""
    return [connection.entity.name for connection in stores.mentions.of(uuid, JOURNAL)]


def count(label: str) -> int:
    """How many nodes have this label."""
    query = {"Entity": "MATCH (n:Entity) RETURN count(n) AS n", "Alias": "MATCH (n:Alias) RETURN count(n) AS n"}[label]
    return int(cypher.read(default_client(), JOURNAL, query)[0]["n"])


def test_a_reading_comes_back_as_written(stores: Stores) -> None:
    """Spans, confidence, reader, and counts over the whole journal."""
    assert write(stores, "a", found(stores, "Anna", "Ben"))
    anna, ben = stores.mentions.of("a", JOURNAL)
    (mention,) = anna.mentions
    assert (mention.start, mention.end, mention.surface, mention.confidence) == (0, 4, "Anna", 0.75)
    assert (mention.reader, mention.origin) == ("tagger", Origin.READER)
    assert (ben.entity.name, ben.entity.n_episodes, ben.entity.n_mentions) == ("Ben", 1, 1)
    assert ben.entity.first_at == ben.entity.last_at == NOW


@pytest.mark.parametrize(
    "name", ["O'Brien", '"x" \\', "$source `a`", "[bold]", "👩‍👩‍👧 Émilie", "عبد الله", "CYPHER a=1"]
)
def test_names_are_kept_exactly(stores: Stores, name: str) -> None:
    """Whatever a name is made of."""
    write(stores, "a", found(stores, name))
    assert names(stores, "a") == [name]
    assert stores.mentions.of("a", JOURNAL)[0].mentions[0].surface == name


def test_provenance_is_recorded(stores: Stores) -> None:
    """Which reader, weights and prompt read which revision."""
    write(stores, "a", found(stores, "Anna"), by=LLM, is_draft=True)
    query = (
        "MATCH (e:Episode) RETURN e.reader AS r, e.weights AS w, e.prompt AS p, e.read_revision AS n, e.is_draft AS d"
    )
    assert cypher.read(default_client(), JOURNAL, query) == [{"r": "llm", "w": "4567", "p": "89ab", "n": 1, "d": True}]
    waiting = stores.ledger.get("a")
    assert waiting is not None
    assert waiting.drafted_revision == 1


def test_a_reading_replaces_the_former_one(stores: Stores) -> None:
    """What only the former one named goes, with the names it was known by."""
    write(stores, "a", found(stores, "Anna", "Ben"))
    write(stores, "a", found(stores, "Ben", "Carla"))
    assert names(stores, "a") == ["Ben", "Carla"]
    assert (count("Entity"), count("Alias")) == (2, 2)
    assert stores.known(JOURNAL, {"anna"}) == []


def test_an_empty_reading_clears(stores: Stores) -> None:
    """Nothing found is a reading too."""
    write(stores, "a", found(stores, "Anna"))
    assert write(stores, "a", ())
    assert stores.mentions.of("a", JOURNAL) == ()
    assert (count("Entity"), count("Alias")) == (0, 0)


def test_what_another_entry_names_stays(stores: Stores) -> None:
    """An orphan is what no entry names, deleted ones included."""
    save(stores, "b")
    write(stores, "a", found(stores, "Anna"))
    write(stores, "b", found(stores, "Anna"))
    stores.episodes.delete("b", JOURNAL, was_pending=True)
    write(stores, "a", ())
    assert (count("Entity"), count("Alias")) == (1, 1)
    stores.episodes.restore("b", JOURNAL, is_pending=False)
    assert names(stores, "b") == ["Anna"]


def test_purging_the_last_entry_that_names_it_removes_an_entity(stores: Stores) -> None:
    """Of an entry that is gone for good no name is left; of a kept one all are."""
    save(stores, "b")
    write(stores, "a", found(stores, "Anna", "Ben"))
    write(stores, "b", found(stores, "Ben"))
    stores.episodes.delete("a", JOURNAL, was_pending=False)
    assert stores.episodes.purge(JOURNAL, deleted_before=datetime(2100, 1, 1, tzinfo=UTC)) == 1
    assert (count("Entity"), count("Alias")) == (1, 1)
    assert names(stores, "b") == ["Ben"]


def test_two_types_of_one_name_are_two_entities(stores: Stores) -> None:
    """Each is found again by its own type."""
    write(stores, "a", (*found(stores, "Florence"), *found(stores, "Florence", type_=EntityType.PLACE)))
    known = stores.known(JOURNAL, {"florence"})
    assert {name.type for name in known} == {EntityType.PERSON, EntityType.PLACE}
    assert all(isinstance(name, KnownName) for name in known)
    (again,) = found(stores, "FLORENCE", type_=EntityType.PLACE)
    assert not again.is_new


def test_thousands_of_mentions(stores: Stores) -> None:
    """A reading longer than a batch is whole."""
    many = FoundEntity("Anna", EntityType.PERSON, tuple(Span(n, n + 4, "Anna", 1.0) for n in range(3500)))
    others = tuple(f"P{n}" for n in range(1200))
    entities = (*resolve([many], [], lambda: "anna"), *found(stores, *others))
    assert write(stores, "a", entities)
    connections = stores.mentions.of("a", JOURNAL)
    assert len(connections) == 1201
    assert len(next(c for c in connections if c.entity.uuid == "anna").mentions) == 3500


@pytest.mark.parametrize("revision", [0, 2])
def test_a_reading_of_another_revision_is_refused(stores: Stores, revision: int) -> None:
    """Nothing of it is written."""
    assert not write(stores, "a", found(stores, "Anna"), revision=revision)
    assert stores.mentions.of("a", JOURNAL) == ()
    assert count("Entity") == 0


def test_a_reading_of_a_removed_entry_is_refused(stores: Stores) -> None:
    """Deleted, or gone from the ledger, or never there."""
    assert not write(stores, "nowhere", found(stores, "Anna"), revision=0)
    stores.episodes.delete("a", JOURNAL, was_pending=True)
    assert not write(stores, "a", found(stores, "Anna"))
    assert not write(stores, "a", found(stores, "Anna"), revision=0)
    assert count("Entity") == 0


def test_an_edit_that_races_a_reading_always_wins(stores: Stores) -> None:
    """Whichever came first, mentions are of the revision that the entry has, or there are none to show."""
    for revision in range(1, 40):
        before = stores.episodes.get("a", JOURNAL)
        after = Episode("a", JOURNAL, f"text {revision}", "", NOW, NOW, revision + 1, "screen")
        barrier = threading.Barrier(2)

        def edit(before: Episode = before, after: Episode = after, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            while not stores.episodes.edit(before, after):
                pass

        thread = threading.Thread(target=edit)
        thread.start()
        entities = found(stores, f"Name{revision}")
        barrier.wait()
        is_written = write(stores, "a", entities, revision=revision)
        thread.join()
        assert (f"Name{revision}" in names(stores, "a")) is is_written
        assert not write(stores, "a", entities, revision=revision)


def test_a_rejected_surface_is_known_as_such(stores: Stores) -> None:
    """It leaves the entry, the entity stays for taking it back, and re-reading is told."""
    write(stores, "a", found(stores, "Anna", "Ben"))
    anna = stores.mentions.of("a", JOURNAL)[0].entity.uuid
    assert stores.mentions.reject("a", JOURNAL, anna) == 1
    assert stores.corrections("a", JOURNAL) == Corrections(rejected=frozenset({"Anna"}))
    write(stores, "a", found(stores, "Ben"))
    assert names(stores, "a") == ["Ben"]
    assert count("Entity") == 2
    assert stores.mentions.unreject("a", JOURNAL, anna) == 1
    assert sorted(names(stores, "a")) == ["Anna", "Ben"]
    assert stores.corrections("a", JOURNAL) == Corrections()


def test_a_rejection_during_a_reading_holds(stores: Stores) -> None:
    """The reading was begun before the person spoke, and is written after; under another type too."""
    write(stores, "a", found(stores, "Anna"), is_draft=True)
    late = (*found(stores, "Anna", "Ben"), *found(stores, "Anna", type_=EntityType.PLACE))
    stores.mentions.reject("a", JOURNAL, stores.mentions.of("a", JOURNAL)[0].entity.uuid)
    assert write(stores, "a", late, by=LLM)
    assert names(stores, "a") == ["Ben"]


def test_an_acceptance_during_a_reading_holds(stores: Stores) -> None:
    """The place is the person's: the late reading adds neither a mention there nor an entity that nothing names."""
    unsure = Doubt("anna", "Anna", EntityType.PERSON, (Span(0, 4, "Anna", 0.25),))
    stores.write_reading("a", JOURNAL, 1, (), TAGGER, is_draft=True, unsure=[unsure])
    late = (*found(stores, "Anna", type_=EntityType.PLACE), *found(stores, "Anna", "Ben"))
    assert stores.review.accept("a", JOURNAL, unsure, "anna") == [0]
    assert write(stores, "a", late, by=LLM)
    anna, ben = stores.mentions.of("a", JOURNAL)
    assert (anna.entity.uuid, [mention.origin for mention in anna.mentions]) == ("anna", [Origin.PERSON])
    assert ben.entity.name == "Ben"
    assert (count("Entity"), count("Alias")) == (2, 2)


def test_rejecting_what_is_not_there(stores: Stores) -> None:
    """No mention, no rejection."""
    assert stores.mentions.reject("a", JOURNAL, "nobody") == 0
    assert stores.mentions.unreject("a", JOURNAL, "nobody") == 0
    assert stores.corrections("nowhere", JOURNAL) == Corrections()


def test_what_a_person_marked_survives_every_reading(stores: Stores) -> None:
    """Its place is kept free for it, and its entity is no orphan."""
    write(stores, "a", found(stores, "Anna"))
    cypher.write(default_client(), JOURNAL, "MATCH ()-[m:MENTIONS]->() SET m.origin = 'person'")
    assert stores.corrections("a", JOURNAL) == Corrections(kept=frozenset({(0, 4)}))
    write(stores, "a", ())
    assert names(stores, "a") == ["Anna"]
    assert stores.mentions.of("a", JOURNAL)[0].mentions[0].origin is Origin.PERSON

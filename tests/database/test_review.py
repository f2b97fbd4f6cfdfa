"""What waits for a person's word: beside the entry, counted, listed, and decided for good."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from backend.database import cypher
from backend.database.connection import default_client
from backend.database.review import AROUND_CHARS
from backend.database.stores import Stores
from backend.domain import Corrections, Doubt, EntityType, Episode, Origin, Provenance, ReaderKind, Span
from backend.graph.names import key_of
from backend.services.runtime import Runtime

JOURNAL = "default"
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
TAGGER = Provenance(ReaderKind.TAGGER, "0123", "")


@pytest.fixture
def stores(runtime: Runtime) -> Stores:
    """The stores of a fresh home with one journal and one entry, `a`."""
    runtime.stores.schema.ensure(JOURNAL)
    save(runtime.stores, "a")
    return runtime.stores


def save(stores: Stores, uuid: str, text: str = "😀 Anna met Ben, and Anna", days: int = 0) -> None:
    """An entry that waits to be read."""
    stores.episodes.create(Episode(uuid, JOURNAL, text, "", NOW + timedelta(days=days), NOW, 1, "screen"))


def doubt(name: str, *starts: int, confidence: float = 0.25, type_: EntityType = EntityType.PERSON) -> Doubt:
    """A name that waits at these places."""
    spans = tuple(Span(start, start + len(name), name, confidence) for start in starts)
    return Doubt(key_of(name), name, type_, spans)


def read(stores: Stores, uuid: str, unsure: Sequence[Doubt], *, revision: int = 1) -> None:
    """A reading that is sure of nothing."""
    assert stores.write_reading(uuid, JOURNAL, revision, (), TAGGER, is_draft=False, unsure=unsure)


def waiting(stores: Stores) -> list[tuple[str, str]]:
    """Entry and name of what waits."""
    return [(line.episode_uuid, line.doubt.name) for line in stores.review.waiting(JOURNAL, 50)]


def entities() -> int:
    """How many entities there are."""
    return int(cypher.read(default_client(), JOURNAL, "MATCH (x:Entity) RETURN count(x) AS n")[0]["n"])


def test_doubts_come_back_as_they_were_and_are_no_entities(stores: Stores) -> None:
    """By first place, with every place; counted by place; the graph of entities knows nothing of them."""
    anna, ben = doubt("Anna", 2, 20), doubt("Ben", 11, type_=EntityType.GROUP)
    read(stores, "a", [ben, anna])
    assert stores.review.of("a", JOURNAL) == (anna, ben)
    assert stores.review.count(JOURNAL) == 3
    assert stores.mentions.of("a", JOURNAL) == ()
    assert entities() == 0


def test_each_reading_replaces_them(stores: Stores) -> None:
    """What waited before is gone, whether the new reading is sure of it or did not see it."""
    read(stores, "a", [doubt("Anna", 2), doubt("Ben", 11)])
    read(stores, "a", [doubt("Ben", 11)])
    assert waiting(stores) == [("a", "Ben")]
    read(stores, "a", [])
    assert stores.review.count(JOURNAL) == 0


def test_the_list_is_newest_first_bounded_and_quotes(stores: Stores) -> None:
    """A name of an entry is one line, with its surest place's confidence, its first place, and the words around."""
    for number in range(3):
        save(stores, f"e{number}", f"{'x' * 400}\nday {number} with Juno and Juno", days=number + 1)
        first = Doubt("juno", "Juno", EntityType.PERSON, (Span(412, 416, "Juno", 0.1), Span(421, 425, "Juno", 0.4)))
        read(stores, f"e{number}", [first])
    lines = stores.review.waiting(JOURNAL, 2)
    assert [line.episode_uuid for line in lines] == ["e2", "e1"]
    newest = lines[0]
    assert (newest.n_places, newest.doubt.confidence, newest.doubt.spans[0].start) == (2, 0.4, 412)
    assert newest.around[newest.at :].startswith("Juno and Juno")
    assert newest.at == AROUND_CHARS
    assert newest.valid_at == NOW + timedelta(days=3)


def test_accepted_places_are_mentions_by_the_person(stores: Stores) -> None:
    """All places at once, under an entity of that name that now is known; re-reading leaves them."""
    read(stores, "a", [doubt("Anna", 2, 20), doubt("Ben", 11)])
    assert stores.review.accept("a", JOURNAL, doubt("Anna"), "anna") == [2, 20]
    (connection,) = stores.mentions.of("a", JOURNAL)
    assert (connection.entity.name, connection.entity.uuid) == ("Anna", "anna")
    assert [(m.start, m.origin, m.confidence) for m in connection.mentions] == [
        (2, Origin.PERSON, 0.25),
        (20, Origin.PERSON, 0.25),
    ]
    assert [name.entity_uuid for name in stores.known(JOURNAL, {"anna"})] == ["anna"]
    read(stores, "a", [doubt("Anna", 2, 20)])
    assert stores.review.of("a", JOURNAL) == ()
    assert len(stores.mentions.of("a", JOURNAL)[0].mentions) == 2


def test_an_acceptance_taken_back_leaves_nothing(stores: Stores) -> None:
    """The places wait again as they did, and the entity that was made for them is gone."""
    before = (doubt("Anna", 2, 20),)
    read(stores, "a", before)
    starts = stores.review.accept("a", JOURNAL, doubt("Anna"), "anna")
    stores.review.unaccept("a", JOURNAL, doubt("Anna"), "anna", starts)
    assert stores.review.of("a", JOURNAL) == before
    assert entities() == 0
    assert stores.known(JOURNAL, {"anna"}) == []


def test_what_waits_no_more_cannot_be_decided(stores: Stores) -> None:
    """Another window was quicker: nothing is made, not even an entity."""
    assert stores.review.accept("a", JOURNAL, doubt("Anna"), "anna") == []
    assert stores.review.dismiss("a", JOURNAL, doubt("Anna")) == 0
    assert entities() == 0


def test_what_was_dismissed_stays_away(stores: Stores) -> None:
    """Later readings are told, neither their doubts nor their certainties bring it back, and undo does."""
    read(stores, "a", [doubt("Anna", 2, 20), doubt("Ben", 11)])
    assert stores.review.dismiss("a", JOURNAL, doubt("Anna")) == 2
    assert waiting(stores) == [("a", "Ben")]
    assert stores.corrections("a", JOURNAL) == Corrections(rejected=frozenset({"Anna"}))
    read(stores, "a", [doubt("Anna", 2, 20)])
    assert stores.review.count(JOURNAL) == 0
    stores.review.undismiss("a", JOURNAL, doubt("Anna"))
    assert waiting(stores) == [("a", "Anna")]
    assert stores.corrections("a", JOURNAL) == Corrections()


def test_a_changed_text_drops_what_waits(stores: Stores) -> None:
    """Places of the old text mean nothing in the new one; a new title alone changes no place."""
    read(stores, "a", [doubt("Anna", 2)])
    before = stores.episodes.get("a", JOURNAL)
    titled = Episode("a", JOURNAL, before.text, "A title", NOW, NOW, 2, "screen")
    assert stores.episodes.edit(before, titled)
    assert waiting(stores) == [("a", "Anna")]
    assert stores.episodes.edit(titled, Episode("a", JOURNAL, "Nobody", "", NOW, NOW, 3, "screen"))
    assert stores.review.count(JOURNAL) == 0


def test_a_dismissal_taken_back_under_a_changed_text_shows_nothing(stores: Stores) -> None:
    """Its places are not those of the text any more: the next reading says."""
    read(stores, "a", [doubt("Anna", 2)])
    stores.review.dismiss("a", JOURNAL, doubt("Anna"))
    before = stores.episodes.get("a", JOURNAL)
    assert stores.episodes.edit(before, Episode("a", JOURNAL, "Then Anna", "", NOW, NOW, 2, "screen"))
    stores.review.undismiss("a", JOURNAL, doubt("Anna"))
    assert stores.review.count(JOURNAL) == 0
    assert stores.corrections("a", JOURNAL) == Corrections()


def test_an_accepted_place_under_a_changed_text_holds_nobody_off(stores: Stores) -> None:
    """The place that the person meant is elsewhere now: a reader may name what stands there."""
    read(stores, "a", [doubt("Ben", 11)])
    stores.review.accept("a", JOURNAL, doubt("Ben"), "ben")
    assert stores.corrections("a", JOURNAL).kept == {(11, 14)}
    before = stores.episodes.get("a", JOURNAL)
    assert stores.episodes.edit(before, Episode("a", JOURNAL, "Yesterday, Rome with Ben", "", NOW, NOW, 2, "screen"))
    assert stores.corrections("a", JOURNAL) == Corrections()
    read(stores, "a", [doubt("Rome", 11)], revision=2)
    assert waiting(stores) == [("a", "Rome")]


def test_what_waits_goes_and_comes_back_with_its_entry(stores: Stores) -> None:
    """Deleted it is neither counted nor listed, restored it is both, purged it is gone."""
    read(stores, "a", [doubt("Anna", 2), doubt("Ben", 11)])
    stores.review.dismiss("a", JOURNAL, doubt("Ben"))
    stores.episodes.delete("a", JOURNAL, was_pending=False)
    assert (stores.review.count(JOURNAL), waiting(stores)) == (0, [])
    stores.episodes.restore("a", JOURNAL, is_pending=False)
    assert (stores.review.count(JOURNAL), waiting(stores)) == (1, [("a", "Anna")])
    stores.episodes.delete("a", JOURNAL, was_pending=False)
    assert stores.episodes.purge(JOURNAL, deleted_before=datetime.now(UTC) + timedelta(days=1)) == 1
    left = cypher.read(default_client(), JOURNAL, "MATCH (n) RETURN count(n) AS n")
    assert left == [{"n": 0}]

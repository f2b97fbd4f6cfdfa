"""The steps from a text to its entities, with a reader that finds what it is told to find."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

import pytest

from backend.domain import (
    Corrections,
    Doubt,
    EntityType,
    Episode,
    FoundEntity,
    KnownName,
    Provenance,
    ReaderKind,
    Reading,
    ResolvedEntity,
    Span,
)
from backend.errors import AnswerUnreadable, Stopped
from backend.graph.extract_nodes import extract_nodes, join, read_text, respect, verify
from backend.graph.split import TextLimit

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
PERSON, PLACE = EntityType.PERSON, EntityType.PLACE


class Lexicon:
    """A reader that knows some words, and marks each where it stands."""

    provenance = Provenance(ReaderKind.TAGGER, "0123", "")

    def __init__(self, words: dict[str, EntityType], limit_chars: int | None = None) -> None:
        self.words = words
        self.limit = None if limit_chars is None else TextLimit(limit_chars, len)
        self.seen: list[str] = []

    def read(self, text: str, reference_time: datetime, *, stopping: Callable[[], bool]) -> Reading:
        """Every place of every word."""
        self.seen.append(text)
        found = []
        for word, type_ in self.words.items():
            starts = [at for at in range(len(text)) if text.startswith(word, at)]
            spans = tuple(Span(at, at + len(word), word, 0.9) for at in starts)
            found.append(FoundEntity(word, type_, spans))
        return Reading(tuple(found), self.provenance)


class Shelf:
    """A store in memory."""

    def __init__(self, known: Sequence[KnownName] = (), corrections: Corrections | None = None) -> None:
        self.names = known
        self.said = corrections or Corrections()
        self.written: list[tuple[int, tuple[ResolvedEntity, ...], bool]] = []
        self.unsure: tuple[Doubt, ...] = ()

    def known(self, journal: str, name_keys: Collection[str]) -> Sequence[KnownName]:
        """Those asked for."""
        return [name for name in self.names if name.key in name_keys]

    def corrections(self, uuid: str, journal: str) -> Corrections:
        """As given."""
        return self.said

    def write_reading(
        self,
        uuid: str,
        journal: str,
        revision: int,
        entities: Sequence[ResolvedEntity],
        provenance: Provenance,
        *,
        is_draft: bool,
        unsure: Sequence[Doubt] = (),
    ) -> bool:
        """Kept for the test to see."""
        self.written.append((revision, tuple(entities), is_draft))
        self.unsure = tuple(unsure)
        return True


def never() -> bool:
    """Nobody wants to stop."""
    return False


def entity(
    name: str, *places: tuple[int, int, str], type_: EntityType = PERSON, confidence: float = 0.5
) -> FoundEntity:
    """A found entity with its spans."""
    return FoundEntity(name, type_, tuple(Span(*place, confidence) for place in places))


def read(text: str, reader: Lexicon) -> dict[str, list[tuple[int, int]]]:
    """Names and places of what is found."""
    found = read_text(text, NOW, reader, never, reader.limit)
    return {one.name: [(span.start, span.end) for span in one.spans] for one in found}


def test_offsets_are_code_points_of_the_text_as_written() -> None:
    """Emoji, combining characters and line ends before a name count as they are."""
    text = "👩‍👩‍👧 e\u0301\r\nAnna"
    assert read(text, Lexicon({"Anna": PERSON})) == {"Anna": [(text.index("Anna"), len(text))]}


def test_a_long_text_is_read_in_pieces_and_joined() -> None:
    """Spans are moved to the whole text, and one entity comes of many pieces."""
    text = "Anna left early. " * 50
    reader = Lexicon({"Anna": PERSON}, limit_chars=60)
    found = read(text, reader)
    assert len(reader.seen) > 10
    assert all(len(piece) <= 60 for piece in reader.seen)
    assert found == {"Anna": [(at, at + 4) for at in range(0, len(text), 17)]}


def test_stop_between_pieces() -> None:
    """Told to stop, no further piece is read."""
    reader = Lexicon({"Anna": PERSON}, limit_chars=30)
    with pytest.raises(Stopped):
        read_text("Anna left early. " * 50, NOW, reader, lambda: len(reader.seen) >= 2, reader.limit)
    assert len(reader.seen) == 2


def test_verify_drops_what_the_text_does_not_say() -> None:
    """An invented span goes; an entity without any goes as a whole."""
    text = "Anna met Ben"
    found = [
        entity("Anna", (0, 4, "Anna"), (5, 9, "Anna")),
        entity("Carla", (0, 5, "Carla")),
        entity("", (0, 0, "")),
        entity("Ben", (-3, 12, "Ben"), (-3, 99, "Ben")),
    ]
    assert list(verify(found, text)) == [entity("Anna", (0, 4, "Anna"))]


def test_verify_is_exact_about_composition() -> None:
    """A reader that normalised the text has its spans refused."""
    assert not list(verify([entity("é", (0, 1, "é"))], "e\u0301"))


def test_names_are_cleaned_and_signs_alone_are_none() -> None:
    """Possessive and quotes go from the name, not from the surface."""
    found = read_text("Anna's ...", NOW, Lexicon({"Anna's": PERSON, "...": PLACE}), never, None)
    assert [(one.name, one.spans[0].surface) for one in found] == [("Anna", "Anna's")]


def test_join_makes_one_entity_of_a_name_and_type() -> None:
    """Written differently it is still one; of another type it is another."""
    found = join(
        [entity("Anna", (0, 4, "Anna")), entity("ANNA", (9, 13, "ANNA")), entity("Anna", (20, 24, "Anna"), type_=PLACE)]
    )
    assert [(one.name, one.type, len(one.spans)) for one in found] == [("Anna", PERSON, 2), ("Anna", PLACE, 1)]


def test_join_keeps_the_longer_of_two_that_begin_together() -> None:
    """New York City, not New York."""
    found = join([entity("New York", (0, 8, "New York")), entity("New York City", (0, 13, "New York City"))])
    assert [one.name for one in found] == ["New York City"]


def test_join_keeps_the_surer_of_two_at_the_same_place() -> None:
    """One place in the text is one entity."""
    found = join(
        [entity("Anna", (0, 4, "Anna"), confidence=0.4), entity("Anna", (0, 4, "Anna"), type_=PLACE, confidence=0.8)]
    )
    assert [one.type for one in found] == [PLACE]


def test_join_leaves_no_overlap() -> None:
    """Spans of different entities, duplicates and touching ones."""
    found = join(
        [
            entity("A", (0, 5, "a"), (0, 5, "a"), (8, 9, "a")),
            entity("B", (3, 8, "b"), (5, 8, "b")),
            entity("C", (4, 6, "c")),
        ]
    )
    spans = sorted((span.start, span.end) for one in found for span in one.spans)
    assert spans == [(0, 5), (5, 8), (8, 9)]


def test_what_a_person_rejected_stays_out_whatever_its_type() -> None:
    """The surface is compared as names are; other surfaces of the entity stay."""
    found = [entity("Rome", (0, 4, "Rome"), (9, 14, "Roma’")), entity("rome", (20, 24, "ROME"), type_=PLACE)]
    assert respect(found, Corrections(rejected=frozenset({"rome"}))) == (entity("Rome", (9, 14, "Roma’")),)


def test_where_a_person_marked_by_hand_no_reader_speaks() -> None:
    """Any overlap with a mention made by hand is left out; touching is none."""
    found = [entity("Anna", (0, 4, "Anna"), (4, 8, "Anna"), (9, 13, "Anna"))]
    assert respect(found, Corrections(kept=frozenset({(6, 10)}))) == (entity("Anna", (0, 4, "Anna")),)


def test_the_whole_way_counts_new_and_known() -> None:
    """What is written is resolved, for the revision that was read."""
    shelf = Shelf([KnownName("anna", "a", PERSON)])
    episode = Episode("e", "default", "Anna met Ben. Ben met Carla.", "", NOW, NOW, 3, "screen")
    reader = Lexicon({"Anna": PERSON, "Ben": PERSON, "Carla": PERSON})
    outcome = extract_nodes(episode, reader, shelf, revision=3, is_draft=True, stopping=never)
    assert (outcome.n_entities, outcome.n_new, outcome.n_known, outcome.is_written) == (3, 2, 1, True)
    ((revision, entities, is_draft),) = shelf.written
    assert (revision, is_draft) == (3, True)
    assert entities[0].uuid == "a"
    assert len(entities[1].found.spans) == 2


def test_nothing_found_is_written_too() -> None:
    """An entry without names has been read, and what a former reading found goes."""
    shelf = Shelf()
    episode = Episode("e", "default", "It rained.", "", NOW, NOW, 1, "screen")
    outcome = extract_nodes(episode, Lexicon({}), shelf, revision=1, is_draft=False, stopping=never)
    assert outcome.n_entities == 0
    assert shelf.written == [(1, (), False)]


def test_a_reader_that_fails_writes_nothing() -> None:
    """The former reading stays in place."""

    class Broken(Lexicon):
        """Answers with nonsense."""

        def read(self, text: str, reference_time: datetime, *, stopping: Callable[[], bool]) -> Reading:
            """Never."""
            raise AnswerUnreadable(7, "is no JSON")

    shelf = Shelf()
    episode = Episode("e", "default", "It rained.", "", NOW, NOW, 1, "screen")
    with pytest.raises(AnswerUnreadable):
        extract_nodes(episode, Broken({}), shelf, revision=1, is_draft=False, stopping=never)
    assert shelf.written == []

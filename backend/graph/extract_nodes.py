"""An entry becomes entities, in named steps: split, read, join, clean, verify, sift, resolve, write.

The reader and the store are arguments, so that the optimizers run the same steps with no store at all.
"""

import uuid as uuids
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from backend.domain import (
    Corrections,
    Doubt,
    EntityType,
    Episode,
    FoundEntity,
    KnownName,
    Provenance,
    Reading,
    ReadingOutcome,
    ResolvedEntity,
    Span,
)
from backend.errors import Stopped
from backend.graph.doubts import sift
from backend.graph.names import clean_name, is_name, key_of
from backend.graph.resolve import resolve
from backend.graph.split import TextLimit, pieces


class Reader(Protocol):
    """Finds entities in a text; the tagger and the LLM both do."""

    @property
    def provenance(self) -> Provenance:
        """Who reads."""
        ...

    def read(self, text: str, reference_time: datetime, *, stopping: Callable[[], bool]) -> Reading:
        """What is in the text; spans are offsets into it. Raises Stopped soon after `stopping` says so."""
        ...


class Store(Protocol):
    """Where entities are known and readings kept."""

    def known(self, journal: str, name_keys: Collection[str]) -> Sequence[KnownName]:
        """Which names are taken, and by whom; the oldest entity first."""
        ...

    def corrections(self, uuid: str, journal: str) -> Corrections:
        """What a person said about an entry."""
        ...

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
        """Replace the entry's reading in one transaction; False when it was saved or removed meanwhile."""
        ...


def extract_nodes(
    episode: Episode,
    reader: Reader,
    store: Store,
    *,
    revision: int,
    is_draft: bool,
    stopping: Callable[[], bool],
    limit: TextLimit | None = None,
    review_below: float = 0.0,
) -> ReadingOutcome:
    """Read an entry and write what is in it; `revision` is the ledger's when the reading was begun.

    Names that the reader is less sure of than `review_below` (0 to 1) wait for the person's word; see `sift`.

    A text over the reader's `limit` is read in pieces and joined; without one the reader takes any length.

    Raises:
        Stopped: shutdown began; nothing was written.
        ReadingFailed: the reader could not read this entry.
        StorageError: the reading could not be written.
    """
    found = read_text(episode.text, episode.valid_at, reader, stopping, limit)
    corrections = store.corrections(episode.uuid, episode.journal)
    kept = respect(found, corrections)
    known = store.known(episode.journal, {key_of(entity.name) for entity in kept})
    sure, unsure = sift(kept, known, review_below)
    resolved = resolve(sure, known, lambda: str(uuids.uuid4()))
    is_written = store.write_reading(
        episode.uuid, episode.journal, revision, resolved, reader.provenance, is_draft=is_draft, unsure=unsure
    )
    n_new = sum(entity.is_new for entity in resolved)
    return ReadingOutcome(len(resolved), n_new, len(resolved) - n_new, len(unsure), is_written)


def read_text(
    text: str,
    reference_time: datetime,
    reader: Reader,
    stopping: Callable[[], bool],
    limit: TextLimit | None = None,
) -> tuple[FoundEntity, ...]:
    """Everything a reader finds in a text of any length, cleaned and verified against it."""
    found: list[FoundEntity] = []
    for offset, piece in pieces(text, limit):
        if stopping():
            raise Stopped
        reading = reader.read(piece, reference_time, stopping=stopping)
        found.extend(shifted(entity, offset) for entity in reading.entities)
    return join(verify(clean(found), text))


def shifted(entity: FoundEntity, offset: int) -> FoundEntity:
    """The entity with its spans moved from a piece to the whole text."""
    spans = (replace(span, start=span.start + offset, end=span.end + offset) for span in entity.spans)
    return replace(entity, spans=tuple(spans))


def clean(found: Iterable[FoundEntity]) -> Iterable[FoundEntity]:
    """Names as they are shown; what is no name is left out."""
    for entity in found:
        name = clean_name(entity.name)
        if is_name(name):
            yield replace(entity, name=name)


def verify(found: Iterable[FoundEntity], text: str) -> Iterable[FoundEntity]:
    """Only spans whose surface stands there, to the character; without one, no entity."""
    for entity in found:
        # A negative start would count from the end.
        spans = tuple(s for s in entity.spans if s.start >= 0 and s.surface and text[s.start : s.end] == s.surface)
        if spans:
            yield replace(entity, spans=spans)


def join(found: Iterable[FoundEntity]) -> tuple[FoundEntity, ...]:
    """One entity a name and type; of spans that overlap the first stays, of those that begin together the longest."""
    spans: list[tuple[Span, tuple[str, EntityType]]] = []
    names: dict[tuple[str, EntityType], str] = {}
    for entity in found:
        key = key_of(entity.name), entity.type
        names.setdefault(key, entity.name)
        spans.extend((span, key) for span in entity.spans)
    spans.sort(key=lambda pair: (pair[0].start, -pair[0].end, -pair[0].confidence))
    chosen: dict[tuple[str, EntityType], list[Span]] = {}
    end = -1
    for span, key in spans:
        if span.start >= end:
            chosen.setdefault(key, []).append(span)
            end = span.end
    return tuple(FoundEntity(names[key], key[1], tuple(held)) for key, held in chosen.items())


def respect(found: Iterable[FoundEntity], corrections: Corrections) -> tuple[FoundEntity, ...]:
    """What is left when what a person rejected or marked by hand is taken out."""
    rejected = {key_of(surface) for surface in corrections.rejected}
    left = []
    for entity in found:
        spans = tuple(
            span
            for span in entity.spans
            if key_of(span.surface) not in rejected
            and not any(start < span.end and span.start < end for start, end in corrections.kept)
        )
        if spans:
            left.append(replace(entity, spans=spans))
    return tuple(left)

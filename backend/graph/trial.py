"""Runs a reader over one text as the application does, and notes what became of its answers on the way."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from backend.domain import FoundEntity, Provenance, ReaderKind, Reading
from backend.errors import ReadingFailed
from backend.graph.extract_nodes import Reader, read_text
from backend.graph.matching import Marked
from backend.graph.split import TextLimit


@dataclass(frozen=True, slots=True)
class NamedRelation:
    """A relation as a reader puts it: its ends by name, the writer as `gold.ME`."""

    source: str = field(repr=False)
    kind: str
    target: str = field(repr=False)
    # The words of the text that say so; empty where the reader gives none.
    evidence: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a reader made of one text."""

    found: tuple[FoundEntity, ...]
    seconds: float
    # Answers asked of an instruct model, and those of them that validated; 0 where none writes answers.
    n_answers: int
    n_valid: int
    # Places that it named before any was dropped, and those where the text has these very words. A name that stands
    # nowhere counts as one place.
    n_places: int
    n_standing: int
    # Entities that it named before any was dropped, and those of which no place stands.
    n_named: int
    n_made_up: int
    # None where the reader offers none.
    relations: tuple[NamedRelation, ...] | None = None

    @property
    def marked(self) -> list[Marked]:
        """All places with their types, in the order of the text."""
        return sorted(Marked(span.start, span.end, one.type) for one in self.found for span in one.spans)


class _Listener:
    """A reader that passes on what another finds, and keeps it as it was before anything is dropped."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.n_asked = 0
        self.answers: list[tuple[str, Reading]] = []

    @property
    def provenance(self) -> Provenance:
        return self._reader.provenance

    def read(self, text: str, reference_time: datetime, *, stopping: Callable[[], bool]) -> Reading:
        self.n_asked += 1
        reading = self._reader.read(text, reference_time, stopping=stopping)
        self.answers.append((text, reading))
        return reading


def run_trial(
    text: str,
    written: datetime,
    reader: Reader,
    *,
    limit: TextLimit | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Trial:
    """The reader's one try at a text; an answer that cannot be used is an empty reading, as the first one would be.

    Raises:
        Stopped: `stopping` said so.
        ReadingUnavailable: the model cannot read at all.
    """
    listener = _Listener(reader)
    found: tuple[FoundEntity, ...] = ()
    started_s = time.perf_counter()
    with suppress(ReadingFailed):  # it shows in the counts: one more was asked for than came
        found = read_text(text, written, listener, stopping, limit)
    seconds = time.perf_counter() - started_s
    writes_answers = reader.provenance.reader is ReaderKind.LLM
    standing = [
        [piece[span.start : span.end] == span.surface and span.start >= 0 for span in entity.spans]
        for piece, reading in listener.answers
        for entity in reading.entities
    ]
    return Trial(
        found,
        seconds,
        n_answers=listener.n_asked if writes_answers else 0,
        n_valid=len(listener.answers) if writes_answers else 0,
        n_places=sum(max(1, len(places)) for places in standing),
        n_standing=sum(sum(places) for places in standing),
        n_named=len(standing),
        n_made_up=sum(not any(places) for places in standing),
    )

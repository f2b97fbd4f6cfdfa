"""Pure: words with their places in the text, and from labelled words to spans. What the tagger was trained on."""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from backend.domain import EntityType, FoundEntity, Span

# A title or an initial keeps its full stop; a word its hyphens and inner apostrophes, but not a possessive.
_WORD: Final = re.compile(
    r"(?:Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Fr|Sr|St|Capt|Lt|Sgt)\.(?=\s?[A-Z])|\b[A-Z]\.(?=\s?[A-Za-z])|\w+(?:(?:[-&]|'(?!s\b))\w+)*|'s\b|[^\w\s]",
)
# One character for one: offsets must not move.
_STRAIGHT: Final = str.maketrans({"‘": "'", "’": "'", "ʼ": "'"})
_TITLE: Final = re.compile(r"(?:Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Fr|Sr|St|Capt|Lt|Sgt|Mme|Herr|Frau|Sir|Lady|Uncle|Aunt)\.?")
_POSSESSIVE: Final = "'s"
# Mentions that are less likely right cost more in precision than they bring in recall: F1 on the tuning entries.
LEAST_CONFIDENCE: Final = 0.42


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it stands in the whole text; end exclusive."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tagged:
    """A word with what it was taken for."""

    word: Word
    # None for no part of a name.
    type: EntityType | None
    begins: bool
    probability: float


def words_of(text: str, start: int, end: int) -> list[Word]:
    """The words of `text[start:end]`; a combining mark stays with its letter."""
    found: list[Word] = []
    for match in _WORD.finditer(text[start:end].translate(_STRAIGHT)):
        word = Word(match.group(), start + match.start(), start + match.end())
        if found and _belongs_to(found[-1], word):
            last = found.pop()
            word = Word(last.text + word.text, last.start, word.end)
        found.append(word)
    return found


def spans_of(tagged: Sequence[Tagged], text: str) -> Iterator[tuple[EntityType, Span]]:
    """The names in the words of one window, cleaned: no full stop at the end, no possessive, titles kept with names."""
    for run in _joined_titles(list(_runs(tagged))):
        kept = _cleaned(run)
        if not kept or kept[0].type is None:
            continue
        start, end = kept[0].word.start, kept[-1].word.end
        surface = text[start:end]
        if any(char.isalnum() for char in surface):
            confidence = sum(one.probability for one in kept) / len(kept)
            yield kept[0].type, Span(start, start + len(surface), surface, min(1.0, confidence))


def calibrated(span: Span, line: tuple[float, float]) -> Span | None:
    """The span with a confidence that is the share of such spans that are right; None where that is little.

    `line` has slope and offset of the confidence's logit (Platt 1999).
    """
    slope, offset = line
    chance = min(max(span.confidence, 1e-6), 1 - 1e-6)
    logit = slope * math.log(chance / (1 - chance)) + offset
    confidence = 1 / (1 + math.exp(-logit))
    return replace(span, confidence=confidence) if confidence >= LEAST_CONFIDENCE else None


def grouped(spans: Sequence[tuple[EntityType, Span]]) -> tuple[FoundEntity, ...]:
    """One entity for each name and type, in the order of their first mention."""
    groups: dict[tuple[str, EntityType], list[Span]] = {}
    for type_, span in spans:
        name = " ".join(span.surface.translate(_STRAIGHT).split())
        groups.setdefault((name.casefold(), type_), []).append(span)
    return tuple(
        FoundEntity(" ".join(spans[0].surface.split()), type_, tuple(spans)) for (_, type_), spans in groups.items()
    )


def _belongs_to(last: Word, word: Word) -> bool:
    if last.end != word.start or not (last.text[-1].isalnum() or unicodedata.category(last.text[-1])[0] == "M"):
        return False
    if unicodedata.category(word.text[0])[0] == "M":
        return True
    return unicodedata.category(last.text[-1])[0] == "M" and word.text[0].isalnum()


def _runs(tagged: Sequence[Tagged]) -> Iterator[list[Tagged]]:
    run: list[Tagged] = []
    for one in tagged:
        if run and (one.type != run[0].type or one.begins):
            yield run
            run = []
        if one.type is not None:
            run.append(one)
    if run:
        yield run


def _joined_titles(runs: list[list[Tagged]]) -> Iterator[list[Tagged]]:
    held: list[Tagged] = []
    for run in runs:
        if held and held[0].type == run[0].type and run[0].word.start - held[-1].word.end <= 1:
            run = held + run
        elif held:
            yield held
        held = []
        if len(run) == 1 and _TITLE.fullmatch(run[0].word.text):
            held = run
        else:
            yield run
    if held:
        yield held


def _is_possessive(last: Tagged, is_person: bool) -> bool:
    return last.word.text == _POSSESSIVE and is_person


def _cleaned(run: list[Tagged]) -> list[Tagged]:
    """The words of a run that are part of the name; none where it begins inside a possessive."""
    if run[0].word.text == _POSSESSIVE:
        return []
    while run and not any(char.isalnum() for char in run[0].word.text):
        run = run[1:]
    # "Nando's" is a place whole; "Sarah's" is Sarah and something of hers.
    is_person = run[0].type is EntityType.PERSON if run else False
    while run and (_is_possessive(run[-1], is_person) or not any(char.isalnum() for char in run[-1].word.text)):
        run = run[:-1]
    return run

"""Makes texts say the same of other people, places and groups, and now and then without capitals."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from optimizers.tagger.examples import Marked

# Types whose surfaces may stand for each other; an activity seldom fits into another's sentence.
_EXCHANGED: Final = ("PER", "PLC", "GRP")
# Chance that a name comes from the lists, where they have any of its type.
_LISTED: Final = 0.5
# Characters after which nothing more is put to a passage.
_LONGEST: Final = 800


class Variety:
    """Varies texts; other names come from all that it is given."""

    def __init__(self, texts: Iterable[Marked], listed: Mapping[str, Sequence[str]] | None = None) -> None:
        """`listed` has further names by the code of their type."""
        found: dict[str, set[str]] = {type_: set() for type_ in _EXCHANGED}
        for marked in texts:
            for start, end, type_ in marked.spans:
                if type_ in found:
                    found[type_].add(marked.text[start:end])
        self._surfaces = {type_: sorted(surfaces) for type_, surfaces in found.items()}
        self._listed = dict(listed or {})

    def varied(
        self, texts: Sequence[Marked], random_: random.Random, *, exchanged: float, lower_case: float
    ) -> list[Marked]:
        """The texts, some of them with other names (`exchanged`), some in lower case: chances from 0 to 1."""
        found = []
        for marked in texts:
            if random_.random() < exchanged:
                marked = self._exchanged(marked, random_)
            if random_.random() < lower_case:
                marked = Marked(_lower(marked.text), marked.spans, marked.is_whole)
            found.append(marked)
        return found

    def joined(self, texts: Sequence[Marked], random_: random.Random, *, joined: float) -> list[Marked]:
        """The passages in another order, some of them put together as one entry (`joined`, a chance)."""
        found: list[Marked] = []
        for marked in random_.sample(texts, len(texts)):
            if found and random_.random() < joined and len(found[-1].text) < _LONGEST:
                found[-1] = _together(found[-1], marked, random_.choice((" ", "\n", "\n\n")))
            else:
                found.append(marked)
        return found

    def _exchanged(self, marked: Marked, random_: random.Random) -> Marked:
        """The text with other surfaces, the same one for the same; kin words and lower-case names stay."""
        text, spans, position = "", [], 0
        chosen: dict[tuple[str, str], str] = {}
        for start, end, type_ in marked.spans:
            surface = marked.text[start:end]
            text += marked.text[position:start]
            if type_ in self._surfaces and surface[:1].isupper() and random_.random() < 0.7:
                surface = chosen.setdefault((surface, type_), self._other(type_, random_))
            spans.append((len(text), len(text) + len(surface), type_))
            text += surface
            position = end
        return Marked(text + marked.text[position:], tuple(spans), marked.is_whole)

    def _other(self, type_: str, random_: random.Random) -> str:
        listed = self._listed.get(type_)
        return random_.choice(listed if listed and random_.random() < _LISTED else self._surfaces[type_])


def _together(one: Marked, other: Marked, between: str) -> Marked:
    begin = len(one.text) + len(between)
    moved = ((start + begin, end + begin, type_) for start, end, type_ in other.spans)
    return Marked(one.text + between + other.text, (*one.spans, *moved), one.is_whole)


def _lower(text: str) -> str:
    """Lower case, character for character: offsets must not move."""
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)

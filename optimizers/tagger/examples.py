"""Training data of the tagger: authored passages and public corpora become windows with the labels they allow.

The public corpora know no activities, so that what they leave unmarked may be one: of such a word only the labels
that are ruled out are learnt from. Nothing is learnt from their handles, of which one corpus marks nearly all and
another none: which of them are names is left to how they look.
"""

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from backend.inference.tag_input import Pieces, Window, windows

TYPES: Final = ("PER", "PLC", "GRP", "ACT")


_MARK: Final = re.compile(r"\[\[([^\[\]|]+)\|(PER|PLC|GRP|ACT)\]\]")
_GOLD_TYPES: Final = {"Person": "PER", "Place": "PLC", "Group": "GRP", "Activity": "ACT"}
_CORPUS_TYPES: Final = {"PERSON": "PER", "PLACE": "PLC", "GROUP": "GRP"}
_NAMES: Final = {"PER": "people.txt", "PLC": "places.txt", "GRP": "groups.txt"}
# Lines of these corpora stand in the order of their documents; those of the others are single messages.
_RUNNING: Final = frozenset({"ewt", "litbank", "gum"})
# Words of running text that are put together.
_TOGETHER_WORDS: Final = 100


@dataclass(frozen=True, slots=True)
class Marked:
    """A text and what is named in it: start, end and type, in order; end exclusive, code points."""

    text: str
    spans: tuple[tuple[int, int, str], ...]
    # Whether activities are marked too.
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Example:
    """A window with the labels that each of its words may have, as bits; 0 for a word that is only context."""

    window: Window
    allowed: tuple[int, ...]
    # Whether it is of a public text, by whose conventions ever it is read.
    is_public: bool


def read_passages(path: Path) -> Iterator[Marked]:
    """Passages, one a line, mentions as `[[surface|TYPE]]`, line breaks as a backslash and an n.

    Raises:
        ValueError: a mark is malformed; names file and line.
    """
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        marked = parse_marked(line.replace("\\n", "\n"))
        if "[[" in marked.text or "]]" in marked.text:
            raise ValueError(f"{path}:{number}: a malformed mark")
        yield marked


def read_names(folder: Path) -> dict[str, list[str]]:
    """Names to exchange others for, by code of type; a file a type, a name a line."""
    return {code: (folder / name).read_text("utf-8").splitlines() for code, name in _NAMES.items()}


def parse_marked(line: str) -> Marked:
    """The text without its marks, and where they were."""
    text, spans, position = "", [], 0
    for match in _MARK.finditer(line):
        text += line[position : match.start()]
        spans.append((len(text), len(text) + len(match[1]), match[2]))
        text += match[1]
        position = match.end()
    return Marked(text + line[position:], tuple(spans))


def read_gold(path: Path) -> list[Marked]:
    """Gold entries as marked texts; that the file is well formed is for `make eval` to say."""
    # Not splitlines: an entry may hold other line ends than \n, unescaped.
    entries = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    return [
        Marked(
            entry["text"],
            tuple(
                (mention["start"], mention["start"] + len(mention["surface"]), _GOLD_TYPES[mention["type"]])
                for mention in entry["mentions"]
            ),
        )
        for entry in entries
    ]


def read_corpus(path: Path, splits: Sequence[str]) -> Iterator[Marked]:
    """Sentences of a corpus in the form of `data/ner`, those of running text put together."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["split"] in splits]
    room = _TOGETHER_WORDS if path.name.split(".")[0] in _RUNNING else 0
    n_words = group = 0
    numbers = []
    for row in rows:
        if n_words + len(row["tokens"]) > room:
            group, n_words = group + 1, 0
        n_words += len(row["tokens"])
        numbers.append(group)
    for _, together in groupby(zip(numbers, rows, strict=True), key=lambda pair: pair[0]):
        yield _joined([row for _, row in together])


def _joined(rows: list[dict[str, list[str]]]) -> Marked:
    text, spans = "", []
    for row in rows:
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            start = len(text)
            text += f"{token} "
            if tag.startswith("B-"):
                spans.append((start, start + len(token), _CORPUS_TYPES[tag[2:]]))
            elif tag.startswith("I-"):
                spans[-1] = (spans[-1][0], start + len(token), spans[-1][2])
    return Marked(text, tuple(spans), is_whole=False)


def examples(texts: Iterable[Marked], pieces: Pieces) -> Iterator[Example]:
    """The windows of marked texts, with the labels that their words may have."""
    for marked in texts:
        for window in windows(marked.text, pieces, is_public=not marked.is_whole):
            labels = labels_of(window, marked)
            free = 1 if marked.is_whole else 1 | _BITS_OF_ACTIVITY
            allowed = [1 << label if label else free for label in labels]
            allowed[: window.first_own] = [0] * window.first_own
            if not marked.is_whole:
                words = [one.word.text for one in window.read]
                allowed = [0 if before == "@" else bits for before, bits in zip(["", *words], allowed, strict=False)]
            yield Example(window, tuple(allowed), not marked.is_whole)


def unmarked_examples(texts: Iterable[Marked], pieces: Pieces) -> Iterator[Example]:
    """The windows of public texts read as a journal is, where their marks do not hold: any label may be right."""
    for marked in texts:
        for window in windows(marked.text, pieces):
            n_own = len(window.read) - window.first_own
            yield Example(window, (0,) * window.first_own + (_ANY_LABEL,) * n_own, True)


_BITS_OF_ACTIVITY: Final = 0b110000000
_ANY_LABEL: Final = 0b111111111


def labels_of(window: Window, marked: Marked) -> list[int]:
    """The label of each word: 0 for O, then B- and I- of each type."""
    found = []
    for one in window.read:
        word = one.word
        label = 0
        for start, end, type_ in marked.spans:
            if start < word.end and word.start < end:
                is_first = word.start <= start or not any(
                    start <= other.word.start < word.start for other in window.read
                )
                label = 1 + 2 * TYPES.index(type_) + (0 if is_first else 1)
                break
        found.append(label)
    return found

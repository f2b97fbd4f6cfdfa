"""Pure: from a text to what the tagger's network sees, alike in training and in reading.

The encoder's vocabulary has lost its capitals; three of the rows that its pretraining left free say where they were,
and where a line ended. Each of them stands before the word that it belongs to. In training a fourth begins
what is marked by the conventions of the public corpora, where Mum is nobody and lunch is nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from backend.inference.tag_words import Word, words_of
from backend.text import sentences

UNKNOWN: Final = 100
_CLS, _SEP = 101, 102
_CAPITAL, _CAPITALS, _LINE_BREAK, _PUBLIC = 1, 2, 3, 4
# Whole sentences share a window up to so many tokens, with the end of what came before to understand them by.
WINDOW_TOKENS: Final = 224
_CONTEXT_TOKENS: Final = 32
# Numbers that `marks_of` gives.
N_MARKS: Final = 4

# The tokens of one word, without any that begin or end a text.
Pieces = Callable[[str], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word as the network sees it."""

    word: Word
    # The signs that stand before it, then its pieces.
    tokens: tuple[int, ...]
    n_signs: int


@dataclass(slots=True)
class Window:
    """Words that are read together; those before `first_own` belong to the window before."""

    read: list[ReadWord] = field(default_factory=list)
    n_tokens: int = 2
    first_own: int = 0
    is_public: bool = False

    def __post_init__(self) -> None:
        self.n_tokens += self.is_public

    @property
    def tokens(self) -> list[int]:
        """Of the whole window, between the signs that begin and end it."""
        begin = [_CLS, _PUBLIC] if self.is_public else [_CLS]
        return [*begin, *(token for one in self.read for token in one.tokens), _SEP]

    @property
    def firsts(self) -> list[int]:
        """Per word, where its first piece stands in `tokens`."""
        starts = accumulate((len(one.tokens) for one in self.read), initial=1 + self.is_public)
        return [start + one.n_signs for start, one in zip(starts, self.read, strict=False)]

    def add(self, one: ReadWord) -> None:
        """One more word."""
        self.read.append(one)
        self.n_tokens += len(one.tokens)

    def following(self, room: int) -> "Window":
        """The next window, which begins with this one's last words: at most `room` tokens of them."""
        after = Window(is_public=self.is_public)
        context: list[ReadWord] = []
        for one in reversed(self.read[self.first_own :]):
            room -= len(one.tokens)
            if room < 0:
                break
            context.append(one)
        for one in reversed(context):
            after.add(one)
        after.first_own = len(context)
        return after


def windows(text: str, pieces: Pieces, *, is_public: bool = False) -> Iterator[Window]:
    """The windows of a text of any length, in order; each word is some window's own exactly once.

    `is_public` says that the text is marked as the public corpora are; reading never does.
    """
    window = Window(is_public=is_public)
    previous_end = 0
    for start, end in sentences(text):
        sentence = []
        for word in words_of(text, start, end):
            sentence.append(_read(word, text[previous_end : word.start], pieces))
            previous_end = word.end
        n_tokens = sum(len(one.tokens) for one in sentence)
        if len(window.read) > window.first_own and window.n_tokens + n_tokens > WINDOW_TOKENS:
            yield window
            window = window.following(min(_CONTEXT_TOKENS, WINDOW_TOKENS - 3 - n_tokens))
        for one in sentence:
            # A sentence longer than a window is cut between words.
            if window.n_tokens + len(one.tokens) > WINDOW_TOKENS:
                yield window
                window = window.following(_CONTEXT_TOKENS)
            window.add(one)
    if len(window.read) > window.first_own:
        yield window


def marks_of(word: str) -> tuple[float, float, float, float]:
    """What can be seen of a word's letters: begins with a capital, all capitals, title case, has a digit."""
    return (
        float(word[:1].isupper()),
        float(word.isupper() and len(word) > 1),
        float(word.istitle()),
        float(any(char.isdigit() for char in word)),
    )


def _read(word: Word, gap: str, pieces: Pieces) -> ReadWord:
    signs = [_LINE_BREAK] if "\n" in gap else []
    if word.text[:1].isupper() and word.text != "I":
        signs.append(_CAPITALS if len(word.text) > 1 and word.text.isupper() else _CAPITAL)
    # No word is longer than a half of a window.
    return ReadWord(word, (*signs, *pieces(word.text)[: WINDOW_TOKENS // 2]), len(signs))

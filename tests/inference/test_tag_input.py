"""From a text to what the tagger's network sees."""

from collections.abc import Iterator

import pytest

from backend.inference.tag_input import WINDOW_TOKENS, Window, marks_of, windows
from backend.inference.tag_words import words_of

CAPITAL, CAPITALS, LINE_BREAK = 1, 2, 3


def letters(word: str) -> tuple[int, ...]:
    """A token for each four letters, 1000 and above."""
    return tuple(1000 + index for index in range((len(word) + 3) // 4))


def own_words(text: str) -> Iterator[str]:
    """The words of all windows, each from the window that it belongs to."""
    for window in windows(text, letters):
        yield from (one.word.text for one in window.read[window.first_own :])


def test_signs_stand_before_their_words() -> None:
    """A capital, capitals and a line break each put a token of their own before the word; the pronoun I does not."""
    (window,) = windows("Mum rang\nNHS and I", letters)
    assert window.tokens == [101, CAPITAL, 1000, 1000, LINE_BREAK, CAPITALS, 1000, 1000, 1000, 102]
    assert [window.tokens[first] for first in window.firsts] == [1000] * 5
    assert window.n_tokens == len(window.tokens)


@pytest.mark.parametrize("n_words", [1, 50, 150, 151, 400, 3000])
def test_every_word_belongs_to_one_window(n_words: int) -> None:
    """Texts of any length are covered once, in order, in windows that fit; sentences of 12 words, and one of 900."""
    words = [f"word{index % 7}{'.' if index % 12 == 11 and not 500 < index < 1400 else ''}" for index in range(n_words)]
    text = " ".join(words)
    assert list(own_words(text)) == [word.text for word in words_of(text, 0, len(text))]
    assert all(window.n_tokens <= WINDOW_TOKENS for window in windows(text, letters))


def test_a_window_begins_with_the_end_of_the_one_before() -> None:
    """What a word is understood by does not stop where a window does."""
    text = " ".join(f"Then we walked to house number {number}." for number in range(60))
    first, second, *_ = windows(text, letters)
    context = [one.word for one in second.read[: second.first_own]]
    assert context
    assert context == [one.word for one in first.read[-len(context) :]]


def test_nothing_to_read() -> None:
    """A text without words has no window."""
    assert list(windows(" \n\n ", letters)) == []
    assert Window().tokens == [101, 102]


def test_a_word_longer_than_a_window_is_cut() -> None:
    """One endless word still fits."""
    assert all(window.n_tokens <= WINDOW_TOKENS for window in windows("x" * 5000 + " Mum", letters))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dr. Okonkwo rang.", ["Dr.", "Okonkwo", "rang", "."]),
        ("saw J. Then home.", ["saw", "J.", "Then", "home", "."]),
        ("I met Sarah. Tom too", ["I", "met", "Sarah", ".", "Tom", "too"]),
        ("O'Brien's dog", ["O'Brien", "'s", "dog"]),
        ("Jumu’ah at Nando’s", ["Jumu'ah", "at", "Nando", "'s"]),
        ("Lars-Erik & M&S", ["Lars-Erik", "&", "M&S"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    """Titles and initials keep their full stop, names their hyphens and apostrophes; a possessive stands alone."""
    assert [word.text for word in words_of(text, 0, len(text))] == words


def test_marks() -> None:
    """Capital, capitals, title case, digit."""
    assert marks_of("Sarah") == (1, 0, 1, 0)
    assert marks_of("NHS") == (1, 1, 0, 0)
    assert marks_of("5k") == (0, 0, 0, 1)

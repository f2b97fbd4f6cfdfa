"""Texts longer than a context are cut at sentences; nothing is lost and offsets are exact."""

import random
import time

import pytest

from backend.domain import MAX_ENTRY_CHARS
from backend.graph.split import TextLimit, pieces
from backend.text import sentences


def in_bytes(text: str) -> int:
    """The worst tokenizer there is: one token a byte."""
    return len(text.encode())


def in_words(text: str) -> int:
    """A kind one: a word a token."""
    return len(text.split())


def check(text: str, limit: int) -> list[tuple[int, str]]:
    """The pieces, after seeing that they are exact, in order, within the limit, and cover every sentence."""
    found = list(pieces(text, TextLimit(limit, in_bytes)))
    end = 0
    covered = bytearray(len(text))
    for offset, piece in found:
        assert text[offset : offset + len(piece)] == piece
        assert offset >= end
        end = offset + len(piece)
        assert in_bytes(piece) <= max(limit, 4), "only a single character may be larger than the limit"
        covered[offset:end] = b"\1" * len(piece)
    assert all(all(covered[start:stop]) for start, stop in sentences(text))
    return found


def test_what_fits_is_one_piece() -> None:
    """As it is, white space at its ends included."""
    assert list(pieces("  Anna came.  ", TextLimit(14, in_bytes))) == [(0, "  Anna came.  ")]


def test_without_a_limit_the_text_is_one_piece() -> None:
    """The tagger windows by itself."""
    assert list(pieces("x " * 9999, None)) == [(0, "x " * 9999)]


def test_cuts_between_sentences() -> None:
    """As many whole sentences as fit go together."""
    text = "Anna came. Ben left. Carla stayed."
    assert check(text, 22) == [(0, "Anna came. Ben left."), (21, "Carla stayed.")]


def test_a_long_sentence_is_cut_at_spaces() -> None:
    """No word is cut while there is a space to cut at."""
    text = "one two three four five six seven eight nine ten"
    words = {word for _, piece in check(text, 16) for word in piece.split()}
    assert words == set(text.split())


@pytest.mark.parametrize("limit", [1, 2, 4, 5])
def test_a_limit_smaller_than_a_word(limit: int) -> None:
    """It still ends, a character a piece if need be."""
    check("Anna 😀😀 東京に行った。 é", limit)


def test_wide_gaps_count() -> None:
    """Hundreds of blank lines between two short sentences are tokens too."""
    found = check("Anna came.\n" + "\n" * 500 + "Ben left.", 40)
    assert [piece for _, piece in found] == ["Anna came.", "Ben left."]


def test_random_texts_keep_all_promises() -> None:
    """300 random texts of every kind of character, with random limits."""
    dice = random.Random(7)
    units = [
        "a",
        "word ",
        ". ",
        "! ",
        "\n",
        "\n\n\n\n",
        " ",
        "東",
        "。",
        "😀",
        "e\u0301",
        "\u2028",
        "Dr. ",
        "\r\n",
        "...",
        "x" * 30,
    ]
    for _ in range(300):
        check("".join(dice.choices(units, k=dice.randrange(1, 120))), dice.randrange(4, 90))


@pytest.mark.parametrize("unit", ["Anna went to Rome. ", "word ", "x", "😀", "A. "])
def test_a_million_characters_are_fast(unit: str) -> None:
    """With sentences or without, in a few seconds."""
    text = (unit * MAX_ENTRY_CHARS)[:MAX_ENTRY_CHARS]
    started_s = time.perf_counter()
    found = list(pieces(text, TextLimit(2000, in_bytes)))
    assert time.perf_counter() - started_s < 5
    assert sum(len(piece) for _, piece in found) > 0.9 * len(text)


def test_pieces_are_well_filled() -> None:
    """A text of equal sentences takes about as many pieces as it must."""
    text = "Anna went to Rome again. " * 1000
    assert len(list(pieces(text, TextLimit(600, in_words)))) <= 12

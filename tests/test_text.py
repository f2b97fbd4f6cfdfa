"""Titles, previews and sentences of texts as people write them, and what may not be saved."""

import time
from datetime import date

import pytest

from backend.domain import MAX_ENTRY_CHARS
from backend.errors import EntryInvalid
from backend.text import (
    PREVIEW_CHARS,
    TITLE_CHARS,
    check_journal,
    check_text,
    for_terminal,
    preview_of,
    sentences,
    title_of,
)


def cut(text: str) -> list[str]:
    """The sentences themselves."""
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u2028\u3000"])
def test_blank_text_is_no_entry(text: str) -> None:
    """White space alone, in any script, is not saved."""
    with pytest.raises(EntryInvalid, match="needs some text"):
        check_text(text)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800", "\udcff"])
def test_what_cannot_be_stored_is_refused_without_quoting_it(text: str) -> None:
    """A null byte and half a surrogate pair are refused; the message holds no words of the entry."""
    with pytest.raises(EntryInvalid) as caught:
        check_text("zebra " + text)
    assert "zebra" not in str(caught.value)


def test_the_limit_is_a_million_characters() -> None:
    """The limit itself may be saved, one more may not."""
    assert check_text("x" * MAX_ENTRY_CHARS)
    with pytest.raises(EntryInvalid, match="1,000,001"):
        check_text("x" * (MAX_ENTRY_CHARS + 1))


@pytest.mark.parametrize("name", ["a", "Work-2024_b", "x" * 64])
def test_journal_names(name: str) -> None:
    """Letters, digits, underscore and hyphen, up to 64."""
    assert check_journal(name) == name


@pytest.mark.parametrize("name", ["", "a b", "../x", "ä", "x" * 65, "a\n", "a:b", "١"])
def test_other_journal_names_are_refused(name: str) -> None:
    """Nothing that could leave the key or the folder it names."""
    with pytest.raises(EntryInvalid):
        check_journal(name)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Rome\n\nrain", "Rome"),
        ("\n\n- [x] milk\nbread", "milk"),
        ("> quoted", "quoted"),
        ("12. twelfth", "twelfth"),
        ("[/etc] and [bold]x", "[/etc] and [bold]x"),
        ("#tag first", "#tag first"),
        ("a\u2028b", "a"),
        ("one\ttwo   three", "one two three"),
    ],
)
def test_title_is_the_first_line_without_markdown_signs(text: str, title: str) -> None:
    """Signs go, words and brackets stay."""
    assert title_of(text) == title


def test_a_given_title_wins_and_is_one_line() -> None:
    """What the writer called it, flattened."""
    assert title_of("text", " My\nday ") == "My day"


def test_title_of_an_entry_that_begins_with_nothing() -> None:
    """The day serves, and without one a word."""
    assert title_of("\n# \n") == "Untitled"
    assert title_of("\n \n", day=date(2024, 2, 29)) == "2024-02-29"
    assert title_of("\n \n") == "Untitled"


def test_long_titles_and_previews_are_cut_with_a_sign() -> None:
    """Both keep to their limits, and the preview goes on where the title stopped."""
    line = " ".join(f"w{n}" for n in range(100))
    title, preview = title_of(line), preview_of(line)
    assert TITLE_CHARS // 2 < len(title) <= TITLE_CHARS
    assert PREVIEW_CHARS // 2 < len(preview) <= PREVIEW_CHARS
    assert line.startswith(f"{title[:-1]} {preview[:20]}")


def test_preview_does_not_repeat_a_title_with_wide_gaps() -> None:
    """White space that the title drops does not shift where the preview begins."""
    line = "a" + " " * 100 + "b"
    assert title_of(line) == "a b"
    assert preview_of(line + "\nnext") == "next"


def test_preview_of_a_titled_entry_begins_at_its_first_line() -> None:
    """The given title is not in the text, so nothing is left out."""
    assert preview_of("# one\ntwo", "Given") == "one two"
    assert preview_of("one") == ""
    assert preview_of("") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I met Dr. Weiss. She left.", ["I met Dr. Weiss.", "She left."]),
        ("J. R. Tolkien came! Why?", ["J. R. Tolkien came!", "Why?"]),
        ("pi is 3.14 today", ["pi is 3.14 today"]),
        ('"Go." He went…  Then', ['"Go."', "He went…", "Then"]),
        ("one\n\n\ntwo", ["one", "two"]),
        ("東京に行った。雨だった。", ["東京に行った。", "雨だった。"]),
        ("a\r\nb", ["a", "b"]),
        ("   ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """Cut at ends of sentences and lines, not at abbreviations, initials and decimals."""
    assert cut(text) == expected


@pytest.mark.parametrize("unit", ["Anna went. ", "A. ", "e.g. ", ".", "!?", "\n", " ", "a", '."', "😀. ", "。"])
def test_sentences_of_a_million_characters_are_fast_and_lose_nothing(unit: str) -> None:
    """Whatever is repeated, the time stays linear and every character but white space is in a sentence."""
    text = (unit * MAX_ENTRY_CHARS)[:MAX_ENTRY_CHARS]
    started_s = time.perf_counter()
    spans = list(sentences(text))
    assert time.perf_counter() - started_s < 5
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())


def test_control_characters_are_shown_not_sent() -> None:
    """An escape sequence in an entry cannot drive the terminal; line ends, tabs and other scripts stay."""
    assert for_terminal("a\x1b[31m\x07\r\x9b\n\tb") == "a\\x1b[31m\\x07\\x0d\\x9b\n\tb"
    assert for_terminal("שלום 👩‍👩‍👧 e\u0301") == "שלום 👩‍👩‍👧 e\u0301"

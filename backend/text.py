"""Pure text work: titles, previews, sentences and their offsets, what may be saved."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import date

from backend.domain import MAX_ENTRY_CHARS
from backend.errors import EntryInvalid

TITLE_CHARS = 80
PREVIEW_CHARS = 160
# How much of an entry is enough for its title and preview.
HEAD_CHARS = 400

_MARKUP_START = re.compile(r"^\s{0,3}(?:#{1,6}\s+|>\s+|[-*+]\s+(?:\[[ xX]\]\s+)?|\d+[.)]\s+)")
_JOURNAL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# A sentence ends at . ! ? … (with closing quotes) before white space, at a CJK full stop, or at a line break.
# A run of them is tried once, from its first character, or a million dots would take hours.
_SENTENCE_END = re.compile(r"(?:(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s)|[。！？]+[」』”’]*|\n+)\s*")
# The longest abbreviation and what stands before it: no need to look at a whole sentence for each.
_ABBREVIATION_CHARS = 10
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e|approx|No)|\b[A-Z])\.$")


def check_text(text: str) -> str:
    """`text` itself, if it may be saved as an entry.

    Raises:
        EntryInvalid: blank, over 1,000,000 characters, a null byte or a lone surrogate.
    """
    if not text.strip():
        raise EntryInvalid("an entry needs some text")
    if len(text) > MAX_ENTRY_CHARS:
        raise EntryInvalid(f"an entry may have {MAX_ENTRY_CHARS:,} characters; this one has {len(text):,}: split it")
    if "\0" in text:
        raise EntryInvalid("an entry cannot contain a null byte: remove it and save again")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise EntryInvalid("an entry must be valid Unicode (UTF-8): this one has a lone surrogate")
    return text


def check_journal(name: str) -> str:
    """`name` itself, if a journal may be called that.

    Raises:
        EntryInvalid: outside `[A-Za-z0-9_-]{1,64}`.
    """
    if not _JOURNAL_NAME.fullmatch(name):
        raise EntryInvalid("a journal's name is 1 to 64 of the characters A-Z a-z 0-9 _ -")
    return name


def title_of(head: str, given: str = "", *, day: date | None = None) -> str:
    """The entry's title: as given, else its first line without Markdown signs, else its day; one line."""
    line = given.strip() or next(_plain_lines(head), "")
    if line:
        return _cut(line, TITLE_CHARS)[0]
    return day.isoformat() if day else "Untitled"


def preview_of(head: str, given_title: str = "") -> str:
    """What follows the title, in one line; empty when there is nothing more."""
    lines = list(_plain_lines(head))
    if lines and not given_title.strip():
        lines[0] = _cut(lines[0], TITLE_CHARS)[1]
    return _cut(" ".join(lines), PREVIEW_CHARS)[0]


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Offsets (start, end) of the sentences of `text`, in order, end exclusive, without the white space between."""
    start = 0
    for match in _SENTENCE_END.finditer(text):
        end = match.start() + len(match.group().rstrip())
        if "\n" not in match.group() and _ABBREVIATION.search(text, max(start, end - _ABBREVIATION_CHARS), end):
            continue
        yield from _trimmed(text, start, end)
        start = match.end()
    yield from _trimmed(text, start, len(text))


def for_terminal(text: str) -> str:
    """`text` with its control characters shown, not sent: an escape as backslash, x1b. Keeps newline and tab."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) != "Cc" else f"\\x{ord(char):02x}" for char in text
    )


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    stripped = piece.strip()
    if stripped:
        begin = start + len(piece) - len(piece.lstrip())
        yield begin, begin + len(stripped)


def _plain_lines(head: str) -> Iterator[str]:
    plain = (_MARKUP_START.sub("", line).strip() for line in head.splitlines())
    return (line for line in plain if line)


def _cut(text: str, limit: int) -> tuple[str, str]:
    """One line of at most `limit` characters, cut between words where there are any, and what is left over."""
    flat = " ".join(text.split())
    if len(flat) <= limit:
        return flat, ""
    space = flat.rfind(" ", limit // 2, limit)
    end = space if space > 0 else limit - 1
    return flat[:end] + "…", flat[end:].strip()

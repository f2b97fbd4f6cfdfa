"""Pure: names as people write them, cleaned for display and folded for comparison, in any script."""

import re
import unicodedata

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})
_POSSESSIVE = re.compile(r"(?<=\w)'s$", re.IGNORECASE)
# Signs of Markdown that Unicode does not count as punctuation.
_SIGNS = "<>~|`"
_SPACES = re.compile(r"\s+")


def clean_name(surface: str) -> str:
    """A surface as a name: one line, no quotes, punctuation or possessive at its ends; may be empty."""
    name = _bare(_SPACES.sub(" ", surface))
    possessive = _POSSESSIVE.search(name.translate(_APOSTROPHES))
    return _bare(name[: possessive.start()]) if possessive else name


def key_of(name: str) -> str:
    """The form in which names are compared: compatible characters unified, case folded, one kind of apostrophe."""
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_APOSTROPHES)
    return unicodedata.normalize("NFC", clean_name(folded))


def is_name(name: str) -> bool:
    """Whether a cleaned name can stand for something: it has a letter or a digit, and an end."""
    return 0 < len(name) <= 80 and any(char.isalnum() for char in name)


def _bare(name: str) -> str:
    """Without white space and any script's punctuation at its ends."""
    start, end = 0, len(name)
    while start < end and _is_edge(name[start]):
        start += 1
    while start < end and _is_edge(name[end - 1]):
        end -= 1
    return name[start:end]


def _is_edge(char: str) -> bool:
    return char.isspace() or char in _SIGNS or unicodedata.category(char).startswith("P")

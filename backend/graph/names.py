"""Pure: names as people write them, cleaned for display and folded for comparison, in any script."""

import re
import unicodedata

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})
_POSSESSIVE = re.compile(r"(?<=\w)'s$|(?<=s)'$", re.IGNORECASE)
_EDGES = " \t\r\n.,;:!?…\"'“”«»„‚‘’()[]{}<>*_~#|/\\-–—"
_SPACES = re.compile(r"\s+")


def clean_name(surface: str) -> str:
    """A surface as a name: one line, no quotes, punctuation or possessive at its ends; may be empty."""
    name = _SPACES.sub(" ", surface).strip(_EDGES)
    possessive = _POSSESSIVE.search(name.translate(_APOSTROPHES))
    return (name[: possessive.start()] if possessive else name).strip(_EDGES)


def key_of(name: str) -> str:
    """The form in which names are compared: compatible characters unified, case folded, one kind of apostrophe."""
    folded = unicodedata.normalize("NFKC", clean_name(name)).casefold().translate(_APOSTROPHES)
    return unicodedata.normalize("NFC", _SPACES.sub(" ", folded).strip())


def is_name(name: str) -> bool:
    """Whether a cleaned name can stand for something: it has a letter or a digit, and an end."""
    return 0 < len(name) <= 80 and any(char.isalnum() for char in name)

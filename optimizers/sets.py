"""Which gold entries to score against: the two sets of this folder by name, or files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backend.errors import GoldInvalid
from backend.graph.gold import GoldEntry
from backend.graph.gold_file import read_gold

DATA: Final = Path(__file__).parent / "data"
REPORTING: Final = "reporting"
NAMED: Final = {name: DATA / "gold" / f"{name}.jsonl" for name in ("tuning", REPORTING)}


@dataclass(frozen=True, slots=True)
class GoldSet:
    """Entries to score against."""

    # As named, or the stem of the file.
    name: str
    path: Path
    # SHA-256 of the file, hex, first 16 digits.
    digest: str
    entries: tuple[GoldEntry, ...]


def open_sets(wanted: Sequence[str]) -> list[GoldSet]:
    """The sets, in order; all are read and checked together.

    Raises:
        GoldInvalid: one is not there, or has a defect; says all.
    """
    paths = [NAMED.get(name, Path(name)) for name in wanted]
    missing = [(name, path) for name, path in zip(wanted, paths, strict=True) if not path.is_file()]
    if missing:
        raise GoldInvalid(tuple(_missing(name, path) for name, path in missing))
    read_gold(*dict.fromkeys(paths))
    return [
        GoldSet(name if name in NAMED else path.stem, path, digest_of(path), tuple(read_gold(path)))
        for name, path in zip(wanted, paths, strict=True)
    ]


def may_be_shown(gold: GoldSet) -> bool:
    """Whether words of its entries may be printed: of the reporting set, and of copies from it, nobody reads any."""
    if gold.name == REPORTING:
        return False
    reporting = NAMED[REPORTING]
    if not reporting.is_file():
        return True
    hidden = {known for entry in read_gold(reporting) for known in (entry.id, entry.text)}
    return hidden.isdisjoint(known for entry in gold.entries for known in (entry.id, entry.text))


def digest_of(path: Path) -> str:
    """SHA-256 of the file, hex, first 16 digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _missing(name: str, path: Path) -> str:
    if name in NAMED:
        return f"{path}: the {name} set of gold entries is not there (data/README.md says what it holds)"
    return f"{path}: there is no such file, and no set is called so (sets: {', '.join(NAMED)})"

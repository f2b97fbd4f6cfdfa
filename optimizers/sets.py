"""Which gold entries to score against: the two sets of this folder by name, or files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backend.errors import GoldInvalid
from backend.graph.gold import SELF_TEST_IDS, GoldEntry
from backend.graph.gold_file import read_gold

DATA: Final = Path(__file__).parent / "data"
REPORTING: Final = "reporting"
NAMED: Final = {name: DATA / "gold" / f"{name}.jsonl" for name in ("tuning", REPORTING)}
WNUT17: Final = DATA / "ner" / "wnut17.jsonl.gz"


@dataclass(frozen=True, slots=True)
class GoldSet:
    """Entries to score against."""

    # As named, or as `name_of` the file.
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
        GoldSet(name if name in NAMED else name_of(path), path, digest_of(path), tuple(read_gold(path)))
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


def learnable(gold: GoldSet) -> list[GoldEntry]:
    """Its entries but those that the self-test reads, and copies of them: no prompt may tell a model their answers."""
    tested = {entry.text for entry in read_gold(NAMED["tuning"]) if entry.id in SELF_TEST_IDS}
    return [entry for entry in gold.entries if entry.text not in tested]


def name_of(path: Path) -> str:
    """What a file of entries or sentences is called: its name without endings.

    With the beginning of its digest where a set of this project is called so: results of the one are not of the other.
    """
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    of_project = {**NAMED, "wnut17": WNUT17}.get(name)
    return name if of_project in (None, path) else f"{name}-{digest_of(path)[:8]}"


def digest_of(path: Path) -> str:
    """SHA-256 of the file, hex, first 16 digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _missing(name: str, path: Path) -> str:
    if name in NAMED:
        return f"{path}: the {name} set of gold entries is not there (data/README.md says what it holds)"
    return f"{path}: there is no such file, and no set is called so (sets: {', '.join(NAMED)})"

"""Gold data: what is read, and every defect by file, line and what is wrong."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.domain import EntityType
from backend.errors import GoldInvalid
from backend.graph.gold import ME, RelationKind
from backend.graph.gold_file import days_of, read_gold

TEXT = "👩‍👩‍👧 Anna met Ben in Rome.\u2028She lives there since March."
SIX = Path(__file__).parent.parent / "optimizers" / "data" / "six.jsonl"

type Fields = dict[str, Any]


def mention(surface: str, type_: str = "Person", **changed: Any) -> Fields:
    """A mention at the surface's first place, the entity called as it is in lower case."""
    made = {"start": TEXT.index(surface), "surface": surface, "type": type_, "entity": surface.lower()}
    return made | changed


def relation(**changed: Any) -> Fields:
    """A relation that the text states."""
    return {"source": "anna", "kind": "lives_in", "target": "rome", "evidence": "She lives there"} | changed


def line(**changed: Any) -> Fields:
    """An entry without a defect, but for what is changed."""
    return {
        "id": "e1",
        "author": "a",
        "written": "2024-05-01T12:00:00+02:00",
        "text": TEXT,
        "mentions": [mention("Ben"), mention("Anna"), mention("Rome", "Place")],
        "relations": [relation()],
        "dates": [{"surface": "March", "date": "2024-03"}],
    } | changed


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines, each an object or bytes, to a file of that name."""

    def written(*lines: Fields | bytes, name: str = "gold.jsonl") -> Path:
        path = tmp_path / name
        raw = [one if isinstance(one, bytes) else json.dumps(one, ensure_ascii=False).encode() for one in lines]
        path.write_bytes(b"".join(one + b"\n" for one in raw))
        return path

    return written


def defects(*paths: Path) -> list[str]:
    """What is wrong with the files."""
    with pytest.raises(GoldInvalid) as caught:
        read_gold(*paths)
    return list(caught.value.defects)


def test_an_entry_is_read_as_it_stands(write: Callable[..., Path]) -> None:
    """Mentions come in the order of the text, in code points; dates become days; an odd line end is no end."""
    (entry,) = read_gold(write(line()))
    assert entry.text == TEXT
    assert [TEXT[one.start : one.end] for one in entry.mentions] == ["Anna", "Ben", "Rome"]
    assert entry.mentions[2].type is EntityType.PLACE
    assert (entry.relations[0].kind, entry.relations[0].target) == (RelationKind.LIVES_IN, "rome")
    assert (entry.dates[0].first, entry.dates[0].last) == (date(2024, 3, 1), date(2024, 3, 31))
    assert entry.written.utcoffset() == timedelta(hours=2)
    assert entry.id in repr(entry)
    assert "Anna" not in repr(entry)


def test_the_writer_may_be_an_end(write: Callable[..., Path]) -> None:
    """`me` needs no mention."""
    (entry,) = read_gold(write(line(relations=[relation(source=ME)])))
    assert entry.relations[0].source == ME


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": ""}, "id is empty"),
        ({"id": 7}, "id must be a text"),
        ({"mentions": None}, "mentions must be a list"),
        ({"mood": "good"}, "there is no field 'mood'"),
        ({"text": " \n", "mentions": []}, "needs some text"),
        ({"text": "a\0b", "mentions": []}, "null byte"),
        ({"written": "yesterday"}, "written is no date and time"),
        ({"written": "2024-05-01T12:00:00"}, "no UTC offset"),
        ({"written": "2024-02-30T12:00:00Z"}, "written is no date and time"),
        ({"mentions": ["Anna"]}, "mention 1: is no JSON object"),
        ({"mentions": [mention("Anna", end=3)]}, "mention 1: there is no field 'end'"),
        ({"mentions": [mention("Anna", start=True)]}, "start must be a whole number"),
        ({"mentions": [mention("Anna", start=1.0)]}, "start must be a whole number"),
        ({"mentions": [mention("Anna", start=5)]}, "does not stand at 5 (it stands at 6)"),
        ({"mentions": [mention("Anna", start=-1)]}, "does not stand at -1"),
        ({"mentions": [mention("Anna") | {"surface": "Carla"}]}, "(it stands nowhere in the text)"),
        ({"mentions": [mention("Anna", "PER")]}, "there is no type 'PER' (there are Person, Place, Group, Activity)"),
        ({"mentions": [mention("Anna met"), mention("met", "Activity")]}, "the mentions at 6 and 11 overlap"),
        ({"relations": [relation(source="carla")]}, "relation 1: its source 'carla' has no mention in this entry"),
        ({"relations": [relation(target="Rome")]}, "its target 'Rome' has no mention"),
        ({"relations": [relation(target="anna")]}, "its ends are the same"),
        ({"relations": [relation(kind="likes")]}, "there is no kind 'likes'"),
        ({"relations": [relation(evidence="She lived there")]}, "evidence does not stand in the text"),
        ({"relations": [relation(evidence="")]}, "evidence is empty"),
        ({"dates": [{"surface": "April", "date": "2024-04"}]}, "date 1: its surface does not stand in the text"),
        ({"dates": [{"surface": "March", "date": "2024-13"}]}, "'2024-13' is no day, month or year"),
        ({"dates": [{"surface": "March"}]}, "date 1: the field date is missing"),
    ],
)
def test_each_defect_is_named_with_its_line(write: Callable[..., Path], changed: Fields, words: str) -> None:
    """File and line, and what is wrong, in a way that helps to mend it; no words of the text."""
    # What a changed text or mention takes from the relations and dates is another matter.
    bare: Fields = {"relations": [], "dates": []} if {"text", "mentions"} & set(changed) else {}
    path = write(line(id="e0"), line(**bare | changed))
    found = defects(path)
    assert len(found) == 1
    assert found[0].startswith(f"{path}:2: ")
    assert words in found[0]
    assert "met Ben" not in found[0]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "is no JSON (Expecting property name enclosed in double quotes at column 2)"),
        (b"", "is empty"),
        (b"\xff", "is not UTF-8 (byte 0)"),
        (b"[]", "is no JSON object"),
        (b"[" * 100_000, "is no JSON that can be read"),
        (b'{"id": "e1"}', "the field author is missing"),
    ],
)
def test_what_is_no_entry_is_named(write: Callable[..., Path], raw: bytes, words: str) -> None:
    """Lines of anything else, an empty one in the middle too."""
    path = write(raw, line())
    assert defects(path)[0] == f"{path}:1: {words}"


def test_ids_are_unique_among_all_files_together(write: Callable[..., Path]) -> None:
    """The second place is told, and the first."""
    one, other = write(line(), name="one.jsonl"), write(line(id="e2"), line(), name="other.jsonl")
    assert defects(one, other) == [f"{other}:2: the id 'e1' stands at {one}:1 already"]
    assert len(read_gold(one)) == 1


def test_an_identity_has_one_type_with_its_author(write: Callable[..., Path]) -> None:
    """In another entry of the same author it is the same thing; another author's is another."""
    renamed = [mention("Rome", "Group")]
    other = line(id="e2", mentions=renamed, relations=[])
    path = write(line(), other)
    assert defects(path) == [f"{path}:2: the identity 'rome' is a Group here and a Place at {path}:1"]
    assert len(read_gold(write(line(), other | {"author": "b"}))) == 2


def test_all_defects_are_told_twenty_are_shown(write: Callable[..., Path]) -> None:
    """One run of the program is enough to mend a file."""
    path = write(*(line(id=f"e{n}", written="soon", dates=[{}]) for n in range(9)))
    with pytest.raises(GoldInvalid) as caught:
        read_gold(path)
    assert len(caught.value.defects) == 27
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 7 more"


def test_a_file_that_is_not_there_or_holds_nothing(write: Callable[..., Path], tmp_path: Path) -> None:
    """Both are errors: scores of nothing would look like scores."""
    assert defects(tmp_path / "none.jsonl") == [f"{tmp_path}/none.jsonl: cannot be read (No such file or directory)"]
    path = write()
    assert defects(path) == [f"{path}: holds no entries"]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024-03-15", date(2024, 3, 15), date(2024, 3, 15)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("2023", date(2023, 1, 1), date(2023, 12, 31)),
        ("2023-12/2024", date(2023, 12, 1), date(2024, 12, 31)),
    ],
)
def test_days_of(text: str, first: date, last: date) -> None:
    """A day, a month, a year, or from one to another."""
    assert days_of(text) == (first, last)


@pytest.mark.parametrize("text", ["", "/", "2024/", "24-03", "2024-3", "2024-02-30", "2024/2023", "2024-03-15T10:00"])
def test_days_of_nothing_else(text: str) -> None:
    """Whatever is no date of that form, or runs backwards."""
    with pytest.raises(ValueError):
        days_of(text)


def test_the_entries_of_the_tests_are_in_order() -> None:
    """The file that the command's tests score on has no defect."""
    assert [entry.id for entry in read_gold(SIX)] == ["ines-1", "ines-2", "ines-3", "bo-1", "bo-2", "bo-3"]

"""Reads gold data from JSON lines and checks it; `optimizers/data/README.md` says what is marked and how a line looks.

Nothing is scored against a file with a defect: all of them are told together, with their lines, before any model is
loaded. They quote ids and keys, never the text.
"""

import calendar
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from backend.domain import EntityType
from backend.errors import EntryInvalid, GoldInvalid
from backend.graph.gold import ME, GoldDate, GoldEntry, GoldMention, GoldRelation, RelationKind
from backend.text import check_text

_ENTRY: Final = {
    "id": str,
    "author": str,
    "written": str,
    "text": str,
    "mentions": list,
    "relations": list,
    "dates": list,
}
_MENTION: Final = {"start": int, "surface": str, "type": str, "entity": str}
_RELATION: Final = {"source": str, "kind": str, "target": str, "evidence": str}
_DATE: Final = {"surface": str, "date": str}
_IN_WORDS: Final = {str: "a text", int: "a whole number", list: "a list"}
_DAYS: Final = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")
# How much of a key that is quoted in a message.
_QUOTED_CHARS: Final = 40

type Say = Callable[[str], None]


def read_gold(*paths: Path) -> list[GoldEntry]:
    """The entries of the files, in order.

    Raises:
        GoldInvalid: a file cannot be read, or has a defect; every defect of every file, each with its line.
    """
    entries: list[GoldEntry] = []
    defects: list[str] = []
    seen: dict[str, str] = {}
    types: dict[tuple[str, str], tuple[EntityType, str]] = {}
    for path in paths:
        for number, raw in _lines(path):
            where = f"{path}:{number}"
            problems: list[str] = []
            entry = parse_entry(raw, problems.append)
            if entry is not None:
                problems += _against_others(entry, where, seen, types)
                entries.append(entry)
            defects += (f"{where}: {problem}" for problem in problems)
    if defects:
        raise GoldInvalid(tuple(defects))
    return entries


def parse_entry(raw: bytes, say: Say) -> GoldEntry | None:
    """The entry of one line; `say` hears of each defect. None where it has any."""
    try:
        value = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        say(f"is not UTF-8 (byte {error.start})")
        return None
    except json.JSONDecodeError as error:
        say("is empty" if not raw.strip() else f"is no JSON ({error.msg} at column {error.colno})")
        return None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets in brackets in brackets
        say("is no JSON that can be read")
        return None
    said: list[str] = []
    entry = _entry(value, said.append)
    for problem in said:
        say(problem)
    return None if said else entry


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GoldInvalid((f"{path}: cannot be read ({error.strerror})",)) from error
    # Not splitlines: a text may hold other line ends than \n, unescaped.
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise GoldInvalid((f"{path}: holds no entries",))
    yield from enumerate(lines, 1)


def _against_others(
    entry: GoldEntry, where: str, seen: dict[str, str], types: dict[tuple[str, str], tuple[EntityType, str]]
) -> Iterator[str]:
    """What is wrong with an entry beside those before it: an id or the type of an identity."""
    first = seen.setdefault(entry.id, where)
    if first != where:
        yield f"the id {_quoted(entry.id)} stands at {first} already"
    for entity, type_ in {mention.entity: mention.type for mention in entry.mentions}.items():
        known, there = types.setdefault((entry.author, entity), (type_, where))
        if known is not type_:
            yield f"the identity {_quoted(entity)} is a {type_} here and a {known} at {there}"


def _entry(value: Any, say: Say) -> GoldEntry | None:
    fields = _fields(value, _ENTRY, "", say)
    if fields is None:
        return None
    text = fields["text"]
    try:
        check_text(text)
    except EntryInvalid as error:
        say(f"text: {error}")
    mentions = [_mention(one, text, f"mention {n}: ", say) for n, one in enumerate(fields["mentions"], 1)]
    found = sorted((one for one in mentions if one is not None), key=lambda one: one.start)
    for left, right in pairwise(found):
        if right.start < left.end:
            say(f"the mentions at {left.start} and {right.start} overlap")
    ends = {one.entity for one in found} | {ME}
    relations = [_relation(one, text, ends, f"relation {n}: ", say) for n, one in enumerate(fields["relations"], 1)]
    dates = [_date(one, text, f"date {n}: ", say) for n, one in enumerate(fields["dates"], 1)]
    return GoldEntry(
        fields["id"],
        fields["author"],
        _moment(fields["written"], say),
        text,
        tuple(found),
        tuple(one for one in relations if one is not None),
        tuple(one for one in dates if one is not None),
    )


def _fields(value: Any, wanted: Mapping[str, type], where: str, say: Say) -> dict[str, Any] | None:
    """The object's fields when all are there, of their types and not empty, and no others."""
    if not isinstance(value, dict):
        say(f"{where}is no JSON object")
        return None
    problems = [f"there is no field {_quoted(name)}" for name in value if name not in wanted]
    for name, type_ in wanted.items():
        if name not in value:
            problems.append(f"the field {name} is missing")
        elif not isinstance(value[name], type_) or isinstance(value[name], bool):
            problems.append(f"{name} must be {_IN_WORDS[type_]}")
        elif value[name] == "":
            problems.append(f"{name} is empty")
    for problem in problems:
        say(where + problem)
    return None if problems else value


def _mention(value: Any, text: str, where: str, say: Say) -> GoldMention | None:
    fields = _fields(value, _MENTION, where, say)
    if fields is None:
        return None
    start, surface = fields["start"], fields["surface"]
    is_there = start >= 0 and text.startswith(surface, start)
    if not is_there:
        nearest = [at.start() for at in re.finditer(re.escape(surface), text)]
        elsewhere = f"at {min(nearest, key=lambda at: abs(at - start))}" if nearest else "nowhere in the text"
        say(f"{where}its surface does not stand at {start} (it stands {elsewhere})")
    if fields["type"] not in set(EntityType):
        say(f"{where}there is no type {_quoted(fields['type'])} (there are {', '.join(EntityType)})")
        return None
    return GoldMention(start, surface, EntityType(fields["type"]), fields["entity"]) if is_there else None


def _relation(value: Any, text: str, ends: set[str], where: str, say: Say) -> GoldRelation | None:
    fields = _fields(value, _RELATION, where, say)
    if fields is None:
        return None
    source, target = fields["source"], fields["target"]
    problems = [
        f"its {name} {_quoted(end)} has no mention in this entry, and is not {ME}"
        for name, end in (("source", source), ("target", target))
        if end not in ends
    ]
    if source == target:
        problems.append("its ends are the same")
    if fields["evidence"] not in text:
        problems.append("its evidence does not stand in the text")
    if fields["kind"] not in set(RelationKind):
        problems.append(f"there is no kind {_quoted(fields['kind'])}")
    for problem in problems:
        say(where + problem)
    return None if problems else GoldRelation(source, RelationKind(fields["kind"]), target, fields["evidence"])


def _date(value: Any, text: str, where: str, say: Say) -> GoldDate | None:
    fields = _fields(value, _DATE, where, say)
    if fields is None:
        return None
    if fields["surface"] not in text:
        say(f"{where}its surface does not stand in the text")
    try:
        first, last = days_of(fields["date"])
    except ValueError:
        say(f"{where}{_quoted(fields['date'])} is no day, month or year of ISO 8601, nor two of them with / between")
        return None
    return GoldDate(fields["surface"], first, last)


def days_of(text: str) -> tuple[date, date]:
    """First and last day that `2024-03-15`, `2024-03`, `2024` or two of these with / between mean.

    Raises:
        ValueError: it is nothing of that, or ends before it begins.
    """
    first, slash, last = text.partition("/")
    begin, end = _days(first)[0], _days(last if slash else first)[1]
    if end < begin:
        raise ValueError(text)
    return begin, end


def _days(text: str) -> tuple[date, date]:
    found = _DAYS.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day = (int(part) if part else None for part in found.groups())
    assert year is not None  # the pattern has it
    if month is None:
        return date(year, 1, 1), date(year, 12, 31)
    if day is None:
        return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])
    return date(year, month, day), date(year, month, day)


def _moment(text: str, say: Say) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        say("written is no date and time of ISO 8601")
        return datetime.min.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        say("written has no UTC offset")
    return moment


def _quoted(key: str) -> str:
    return repr(key if len(key) <= _QUOTED_CHARS else key[:_QUOTED_CHARS] + "…")

"""Which models can be fetched, how big they are, and which of them lie on this machine.

The catalogue is `models/catalog.toml`; what has been fetched stands in `<home>/models/installed.json`, with the size,
the SHA-256 and the revision that were checked. Nothing here contacts anybody.
"""

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from backend.errors import ModelUnknown, SettingsError
from backend.inference.gguf_header import Header, Value
from backend.inference.weights import read_json, write_json
from backend.settings import SHIPPED_MODELS

CATALOG_PATH: Final = SHIPPED_MODELS / "catalog.toml"
_PINS_NAME: Final = "installed.json"
_STRICT: Final = ConfigDict(extra="forbid")
# How alike a mistyped name must be to be offered, 0 to 1, and how many are.
_ALIKE: Final = 0.4
_MOST_OFFERED: Final = 3

type CatalogKind = Literal["llm", "embedding", "reranker"]
type _Count = Annotated[int, Field(strict=True, gt=0, le=1 << 40)]


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a network that its memory need follows from; named as in `memory.need_bytes`."""

    layers: _Count
    width: _Count
    feed_forward: _Count
    heads: _Count
    heads_kv: _Count
    head_size: _Count
    # Entries of the vocabulary.
    vocabulary: _Count
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A model that can be fetched."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    kind: CatalogKind
    family: Annotated[str, Field(min_length=1, max_length=40)]
    # As people say it: "4.0B".
    parameters: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[MB]$")]
    repository: Annotated[str, Field(pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$")]
    file: Annotated[str, Field(pattern=r"^[\w-][\w.-]*\.gguf$")]
    # Tokens it was made for.
    context: _Count
    licence: Annotated[str, Field(min_length=1, max_length=40)]
    # Of the file when it was listed; the hub's own word counts when it is fetched.
    size_bytes: _Count
    shape: Shape
    note: Annotated[str, Field(min_length=1, max_length=80)]
    default: Annotated[bool, Field(strict=True)] = False
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    @property
    def header(self) -> Header:
        """What the file says of itself, as far as its memory need goes: for `memory.need_bytes` before it is here."""
        shape = self.shape
        values: dict[str, Value] = {
            "general.architecture": "listed",
            "listed.context_length": self.context,
            "listed.block_count": shape.layers,
            "listed.embedding_length": shape.width,
            "listed.feed_forward_length": shape.feed_forward,
            "listed.attention.head_count": shape.heads,
            "listed.attention.head_count_kv": shape.heads_kv,
            "listed.attention.key_length": shape.head_size,
            "listed.attention.value_length": shape.head_size,
        }
        return Header(values, self.size_bytes, 1, shape.vocabulary)


@dataclass(frozen=True, slots=True)
class Pin:
    """What a fetched file was found to be; kept beside it."""

    name: str
    repository: str
    # Commit of the repository, 40 hex digits.
    revision: str
    size_bytes: int
    # Of the whole file, 64 hex digits.
    sha256: str


_ENTRY: Final = TypeAdapter(CatalogEntry)
_PIN: Final = TypeAdapter(Pin)


def read_catalog(path: Path = CATALOG_PATH) -> tuple[CatalogEntry, ...]:
    """The models that can be fetched, in the order of the file.

    Raises:
        SettingsError: the file is malformed; names the file, the line, the key and what is wrong with it.
    """
    try:
        text = path.read_text("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise SettingsError("catalogue of models", str(path), error.strerror or "it cannot be read") from None
    except ValueError as error:  # no TOML (its message gives line and column), or no UTF-8
        raise SettingsError("catalogue of models", str(path), str(error)) from None
    rows = tables.pop("model", [])
    if tables or not isinstance(rows, list) or not rows:
        odd = next(iter(tables), "model")
        raise SettingsError(odd, f"{path}, line {_line(text, 0, odd)}", "there are [[model]] tables here and no others")
    entries = tuple(_entry(path, text, number, row) for number, row in enumerate(rows, start=1))
    _check_together(path, text, entries)
    return entries


def find_entry(entries: Sequence[CatalogEntry], name: str) -> CatalogEntry:
    """The entry called `name`, whatever its case. Raises ModelUnknown with the nearest names."""
    for entry in entries:
        if entry.name == name.lower():
            return entry
    raise ModelUnknown(name, nearest([entry.name for entry in entries], name))


def nearest(names: Iterable[str], name: str) -> tuple[str, ...]:
    """Those of `names` that could have been meant, the likeliest first."""
    wanted, known = name.lower(), list(names)
    beginning = [other for other in known if wanted and wanted in other]
    alike = difflib.get_close_matches(wanted, known, n=_MOST_OFFERED, cutoff=_ALIKE)
    return tuple(dict.fromkeys([*beginning, *alike]))[:_MOST_OFFERED]


def read_pins(folder: Path) -> dict[str, Pin]:
    """What is known of the files in `folder` that were fetched, by file name."""
    pins: dict[str, Pin] = {}
    for file, values in read_json(folder / _PINS_NAME).items():
        try:
            pins[file] = _PIN.validate_python(values)
        except ValidationError:  # written by hand or by a later Charlie: the file is then one that nobody vouches for
            continue
    return pins


def write_pin(folder: Path, file: str, pin: Pin | None) -> None:
    """Remember what `file` was found to be; None forgets it."""
    kept: dict[str, object] = {name: known for name, known in read_json(folder / _PINS_NAME).items() if name != file}
    write_json(folder / _PINS_NAME, kept | ({file: asdict(pin)} if pin else {}))


def _entry(path: Path, text: str, number: int, row: object) -> CatalogEntry:
    try:
        return _ENTRY.validate_python(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    keys = [str(part) for part in first["loc"]]
    source = f"{path}, line {_line(text, number, keys[0] if keys else '')}"
    raise SettingsError(".".join(keys) or "model", source, first["msg"])


def _check_together(path: Path, text: str, entries: tuple[CatalogEntry, ...]) -> None:
    """Raises SettingsError where two entries are at odds."""
    for key in ("name", "file"):
        counts = Counter(str(getattr(entry, key)).lower() for entry in entries)
        for number, entry in enumerate(entries, start=1):
            value = str(getattr(entry, key)).lower()
            if counts[value] > 1:
                raise SettingsError(key, f"{path}, line {_line(text, number, key)}", f"there are two models of {value}")
    defaults = [number for number, entry in enumerate(entries, start=1) if entry.default]
    if len(defaults) != 1 or entries[defaults[0] - 1].kind != "llm":
        line = _line(text, defaults[-1] if defaults else 1, "default")
        raise SettingsError("default", f"{path}, line {line}", "exactly one model, of kind llm, is the default")


def _line(text: str, number: int, key: str) -> int:
    """The line, from 1, of `key` in the `number`th [[model]] (0: before the first), or of that table's head.

    `tomllib` keeps no positions.
    """
    table, head = 0, 1
    for at, line in enumerate(text.splitlines(), start=1):
        if re.match(r"\s*\[", line):
            table += bool(re.match(r"\s*\[\[\s*model\s*\]\]", line))
            head = at if table == number and number else head
        if table == number and key and re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=\].]", line):
            return at
    return head

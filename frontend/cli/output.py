"""What a command prints: lines, tables and JSON on stdout, one line on stderr when something went wrong.

To a terminal, control characters are shown instead of sent and titles are cut to the window; to a file
or a pipe the text goes out in full, without colour, columns apart by a tab.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backend.domain import Connection, Entity, EpisodeSummary, Status
from backend.errors import CharlieError
from backend.text import for_terminal

type Json = bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None

# JSON leaves these as they are; a terminal would obey them.
_C1_CONTROLS = re.compile("[\x7f-\x9f]")
_LEAST_LAST_COLUMN = 12
_SHORT_UUID = 8
_STYLES = {"Person": "cyan", "Place": "green", "Group": "magenta", "Activity": "yellow"}


class CommandFailed(CharlieError):
    """A command could not do its part; the message says what to do next."""


def prepare_streams() -> None:
    """Characters that the terminal's encoding lacks are shown as escapes, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Json, *, on_one_line: bool = False) -> None:
    """One JSON document, indented unless it is to be one line, keys in the order given."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    document = json.dumps(value, ensure_ascii=not is_utf8, indent=None if on_one_line else 2)
    _write(_C1_CONTROLS.sub(lambda match: f"\\u{ord(match.group()):04x}", document) + "\n")


def print_text(text: str) -> None:
    """`text` as it is, or with its control characters shown where a terminal would obey them."""
    _write((for_terminal(text) if sys.stdout.isatty() else text) + "\n")


def print_error(message: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"charlie: {for_terminal(' '.join(message.split()))}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, styles: Mapping[str, str] = _STYLES) -> None:
    """A table on a terminal; tab-separated lines without headings elsewhere."""
    if not sys.stdout.isatty():
        for row in rows:
            _write("\t".join(" ".join(cell.split()) for cell in row) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    shown = [[for_terminal(" ".join(cell.split())) for cell in row] for row in rows]
    console = Console()
    # Said outright: left to itself, the table takes what the last column lacks from all the others alike.
    others = sum(2 + max(cell_len(row[n]) for row in [columns, *shown]) for n in range(len(columns) - 1))
    last = max(_LEAST_LAST_COLUMN, console.width - others)
    for n, column in enumerate(columns):
        is_last = n == len(columns) - 1
        table.add_column(Text(column), no_wrap=True, overflow="ellipsis", max_width=last if is_last else None)
    for row in shown:
        table.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in row))
    console.print(table)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has gone: Typer ends the command quietly
        raise
    except OSError as error:
        # Python would try again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CommandFailed(f"the output cannot be written: {error.strerror}") from None


def short(uuid: str) -> str:
    """As much of a uuid as a person types, on a terminal; all of it for a program."""
    return uuid[:_SHORT_UUID] if sys.stdout.isatty() else uuid


def when(moment: datetime) -> str:
    """Date and time of day as the writer's clock showed them."""
    return moment.strftime("%Y-%m-%d %H:%M")


def summary_json(summary: EpisodeSummary) -> dict[str, Json]:
    """An entry in a list."""
    return {
        "uuid": summary.uuid,
        "title": summary.title,
        "preview": summary.preview,
        "valid_at": summary.valid_at.isoformat(),
        "status": summary.status.value,
        "journal": summary.journal,
    }


def entity_json(entity: Entity) -> dict[str, Json]:
    """Someone or something that entries mention."""
    return {
        "uuid": entity.uuid,
        "name": entity.name,
        "type": entity.type.value,
        "n_episodes": entity.n_episodes,
        "n_mentions": entity.n_mentions,
        "first_at": entity.first_at.isoformat() if entity.first_at else None,
        "last_at": entity.last_at.isoformat() if entity.last_at else None,
    }


def connection_json(connection: Connection) -> dict[str, Json]:
    """An entity in an entry, with the places that name it."""
    return {
        "uuid": connection.entity.uuid,
        "name": connection.entity.name,
        "type": connection.entity.type.value,
        "mentions": [
            {
                "start": mention.start,
                "end": mention.end,
                "surface": mention.surface,
                "confidence": mention.confidence,
                "reader": mention.reader,
                "origin": mention.origin.value,
            }
            for mention in connection.mentions
        ],
    }


def status_json(status: Status) -> dict[str, Json]:
    """What is going on."""
    model = status.model
    return {
        "journals": dict(status.journals),
        "pending": status.pending,
        "dead": status.dead,
        "model": {
            "state": model.state.value,
            "name": model.name,
            "kind": model.kind,
            "loads": model.loads,
            "resident_mb": round(model.resident_mb, 1),
            "context_tokens": model.context_tokens,
            "parallel": model.parallel,
            "prompt_progress": None if model.prompt_progress is None else round(model.prompt_progress, 3),
            "answer_tokens": model.answer_tokens,
            "tokens_per_s": round(model.tokens_per_s, 1),
            "seconds_left": None if model.seconds_left is None else round(model.seconds_left, 1),
        },
        "reader": status.reader,
        "worker": status.worker,
        "reading": status.reading_uuid,
        "problem": status.problem,
        "unsure": status.unsure,
    }

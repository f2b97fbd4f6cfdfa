"""Journals of a given size, written through the services as a person's own would be, and opened for measuring."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Self

import redis

from backend.database import server_process
from backend.database.connection import default_client
from backend.database.lifecycle import set_default_server
from backend.database.redis_ops import PENDING, Ledger
from backend.domain import EntityType, FoundEntity, Provenance, ReaderKind, Reading, Span
from backend.graph.extract_nodes import extract_nodes
from backend.services.journal import JournalService
from backend.services.runtime import Runtime
from backend.services.status import Board, WorkerState
from backend.settings import CHECKOUT, DEFAULT_JOURNAL, load_settings
from tests.bench.texts import long_name, short_name, text_of
from tests.gguf_factory import write_random_llm
from tests.terminal import Terminal

ENTRY_WORDS = 150
_ENTITIES_PER_SEED = 10
WELCOME = "Nothing is written yet."


class GivenReader:
    """A reader that knows its answers: what is measured with it is everything but the model."""

    def __init__(self) -> None:
        self.provenance = Provenance(ReaderKind.TAGGER, "0" * 16, "")
        self._names: dict[str, Sequence[str]] = {}

    def expect(self, text: str, names: Sequence[str]) -> str:
        """`text` with a sentence that names these, and these as the answer to it; the text to save."""
        whole = f"{text} With {', '.join(names)} today."
        self._names[whole] = names
        return whole

    def read(self, text: str, reference_time: datetime, *, stopping: object) -> Reading:
        """Those names where they stand."""
        found = []
        for name in self._names[text]:
            start = text.rindex(name)
            span = Span(start, start + len(name), name, 1.0)
            found.append(FoundEntity(name, EntityType.PERSON, (span,)))
        return Reading(tuple(found), self.provenance)


@contextmanager
def opened(home: Path, **chosen: object) -> Iterator[Runtime]:
    """A Runtime of this process over a home; no worker unless one is asked for."""
    runtime = Runtime(load_settings(home=home, **{"worker": "none", **chosen}))
    runtime.open()
    try:
        yield runtime
    finally:
        runtime.close()
        set_default_server(None)


class Homes:
    """Homes in one folder; each size is written once and copied where it is going to be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._n_made = 0

    def close(self) -> None:
        """Ends the servers that a benchmark broken off has left."""
        for database in self.folder.glob("*/database"):
            if server_process.is_alive(database):
                server_process.end(database)

    def empty(self) -> Path:
        """A home that nobody has opened yet."""
        self._n_made += 1
        return self.folder / f"home{self._n_made}"

    def copy_of(self, template: Path) -> Path:
        """The same journal again, closed."""
        return Path(shutil.copytree(template, self.empty(), ignore=shutil.ignore_patterns("*.sock")))

    def with_entries(self, count: int) -> Path:
        """So many entries of 150 words, three a day up to now, each read, with three entities. Do not change it."""
        home = self.folder / f"entries{count}"
        if not home.exists():
            names = [long_name(number) for number in range(max(3, count // 10))]
            random = Random(count)
            seed(home, [[random.choice(names) for _ in range(3)] for _ in range(count)])
        return home

    def with_entities(self, count: int) -> Path:
        """So many entities, half of them with names of three letters, ten an entry. Do not change it."""
        home = self.folder / f"entities{count}"
        if not home.exists():
            names = [(short_name if number % 2 else long_name)(number) for number in range(count)]
            seed(home, [names[at : at + _ENTITIES_PER_SEED] for at in range(0, count, _ENTITIES_PER_SEED)])
        return home

    def with_waiting(self, count: int) -> Path:
        """So many entries that wait to be read, in a home of its own."""
        home, random = self.empty(), Random(count)
        with opened(home) as runtime:
            for _ in range(count):
                runtime.journal.add(text_of(random, ENTRY_WORDS))
        return home

    def llm(self) -> Path:
        """Weights of the shape of a model with 0.6 billion parameters, Q8_0, with random values: 546 MB, 12 s."""
        path = self.folder / "random-0.6b.gguf"
        if not path.exists():
            write_random_llm(path, n_layers=28, n_embd=1024, n_heads=16, n_heads_kv=8, n_ff=3072, quant="q8_0")
        return path


def newest_title(count: int) -> str:
    """The title that the newest entry of `with_entries(count)` has."""
    return f"Evening number {count}" if count else WELCOME


def seed(home: Path, names: Sequence[Sequence[str]]) -> None:
    """An entry for every group of names, eight hours apart, saved and read through the services."""
    reader, random, now = GivenReader(), Random(0), datetime.now().astimezone()
    with opened(home) as runtime:
        # A third of the time is syncing, which is not what is measured here; closing writes everything out.
        default_client().config_set("appendfsync", "no")
        # No message for the worker: what is read here does not wait.
        journal = JournalService(runtime.stores, runtime.events, lambda *_: None, default_journal=DEFAULT_JOURNAL)
        for number, group in enumerate(names, start=1):
            text = reader.expect(text_of(random, ENTRY_WORDS), group)
            when = now - timedelta(hours=8 * (len(names) - number))
            uuid = journal.add(text, title=newest_title(number), valid_at=when)
            episode = journal.get(uuid)
            extract_nodes(episode, reader, runtime.stores, revision=1, is_draft=False, stopping=lambda: False)
            runtime.stores.ledger.finish(uuid, 1)


def charlie(home: Path, **environment: str) -> Terminal:
    """The real command in a terminal of its own, over a home."""
    return Terminal([sys.executable, "charlie.py"], env=clean_env(home, environment), cwd=CHECKOUT)


def bare_app(*arguments: str) -> Terminal:
    """A Textual application with one widget, in a terminal of its own."""
    return Terminal([sys.executable, "-m", "tests.bench.bare_app", *arguments], env=clean_env(None, {}), cwd=CHECKOUT)


def clean_env(home: Path | None, more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what somebody has set for a Charlie of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHARLIE_")}
    return {**kept, **({"CHARLIE_HOME": str(home)} if home else {}), **more}


class Observer:
    """Looks into the database of a home that another process has open, without being one of its users."""

    def __init__(self, home: Path) -> None:
        record = server_process.recorded(home / "database")
        if record is None:
            raise FileNotFoundError(home / "database")
        self.server_pid, address = record
        self._client = redis.Redis(unix_socket_path=str(address), decode_responses=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def worker(self) -> WorkerState | None:
        """What the worker says of itself."""
        return Board(self._client).read()

    def n_waiting(self) -> int:
        """Entries that wait to be read."""
        return Ledger(self._client).count(*PENDING)

    def n_commands(self) -> int:
        """Commands that the server has done; each time this is asked adds one to the next answer."""
        return sum(int(stats["calls"]) for stats in self._client.info("commandstats").values())

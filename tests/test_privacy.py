"""A word of the journal is found in the database and the drafts, and nowhere else that a run leaves or prints."""

import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.database import cypher
from backend.database.connection import default_client
from backend.domain import Provenance, ReaderKind, Reading
from backend.errors import AnswerUnreadable, CharlieError
from backend.services.drain import drain
from backend.services.launch import start_worker
from backend.services.runtime import Runtime
from backend.services.tasks import extract_nodes_task
from backend.settings import CHECKOUT
from tests.gguf_factory import write_random_llm

# Unlike anything that a program says; capitalised so that readers take it for a name.
MARKER = "Xyzzyqua"
TEXT = f"Dinner with {MARKER} Miller in Lisbon. $source `x` {{y: '{MARKER}'}} [bold]{MARKER}[/bold]"

type MakeRuntime = Callable[..., Runtime]


def charlie(*arguments: str, text: str = "") -> str:
    """Everything that a command prints."""
    command = [sys.executable, "charlie.py", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=CHECKOUT, check=False, timeout=60)
    return done.stdout + done.stderr


def files_with_marker(home: Path) -> set[str]:
    """The first folder below the home of every file that has the marker, in any of the usual encodings."""
    forms = [MARKER.encode(), MARKER.lower().encode(), MARKER.encode("utf-16-le")]
    paths = [path for path in home.rglob("*") if path.is_file()]
    return {
        path.relative_to(home).parts[0]
        for path in paths
        if any(form in (content := path.read_bytes()) or form in content.lower() for form in forms)
    }


def test_whole_run_leaves_no_word_outside(make_runtime: MakeRuntime, home: Path, tmp_path: Path) -> None:
    """Commands, both readers, drafts, failures and the fault of a process: only database and drafts have the word."""
    printed = charlie("add", "-", text=TEXT)
    uuid = printed.split()[0]
    printed += charlie("work", "--drain", "--json") + charlie("status", "--json")
    printed += charlie("edit", uuid, "-", text=f"{MARKER}\0") + charlie("add", MARKER, "--date", MARKER)
    printed += charlie("show", MARKER) + charlie("entity", f"{MARKER} Nobody")
    printed += charlie("add", MARKER, "--journal", MARKER + "!")
    llm = write_random_llm(tmp_path / "random.gguf")
    runtime = make_runtime(worker="process", llm_path=llm)
    os.environ["CHARLIE_LLM_PATH"] = str(llm)
    try:
        start_worker(runtime)
        runtime.journal.add(TEXT)
        report = drain(runtime)
    finally:
        del os.environ["CHARLIE_LLM_PATH"]
    assert report.pending == 0
    runtime.drafts.save(runtime.drafts.new_id(), "", "default", TEXT)
    runtime.close()
    assert MARKER not in printed
    assert MARKER.lower() not in printed.lower()
    assert files_with_marker(home) == {"database", "drafts"}


def test_logs_of_every_layer_are_silent(
    make_runtime: MakeRuntime, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """At the most talkative level, no logger of ours or of a library says the word."""
    caplog.set_level(logging.DEBUG)
    runtime = make_runtime(immediate=True, llm_path=write_random_llm(tmp_path / "random.gguf"), max_answer_tokens=64)
    uuid = runtime.journal.add(TEXT)
    extract_nodes_task(uuid, "default").get()
    runtime.journal.edit(uuid, TEXT + " More.")
    runtime.journal.undo()
    runtime.journal.delete(uuid)
    assert len(caplog.records) > 10
    said = caplog.text + "".join(capfd.readouterr())
    assert MARKER not in said


def test_keys_beside_the_graph_have_no_word(make_runtime: MakeRuntime) -> None:
    """Ledger, messages, results and telemetry: uuids and counts. Only the graph and the undo list know the text."""
    runtime = make_runtime(worker="thread")
    start_worker(runtime)
    uuids = [runtime.journal.add(TEXT) for _ in range(3)]
    runtime.journal.edit(uuids[0], TEXT + " Again.")
    drain(runtime)
    runtime.journal.add(TEXT)
    client = default_client()
    with_word = {key for key in client.keys("*") if MARKER.encode() in raw_dump(str(key))}
    assert with_word <= {"graph:default", "undo:default"}
    assert not [key for key in client.keys("*") if str(key).startswith("telemetry")]
    assert client.execute_command("SLOWLOG", "LEN") == 0


def raw_dump(key: str) -> bytes:
    """A key as the server would save it."""
    import redis

    from backend.database.lifecycle import default_server

    with redis.Redis(unix_socket_path=str(default_server().socket_path)) as client:
        return bytes(client.dump(key) or b"")


class Faulty:
    """A reader that fails in the way it is told, after having seen the text."""

    provenance = Provenance(ReaderKind.LLM, "faulty", "")

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, text: str, reference_time: object, *, stopping: Callable[[], bool]) -> Reading:
        """Raises."""
        assert MARKER in text
        raise self.error


def test_errors_of_every_layer_are_silent(runtime_immediate: Runtime) -> None:
    """What is raised at the driver, the query, the entry, the reader and the answer names counts and ids only."""
    from backend.graph.extract_nodes import read_text

    runtime = runtime_immediate
    uuid = runtime.journal.add(TEXT)
    episode = runtime.journal.get(uuid)
    provoked: list[Callable[[], object]] = [
        lambda: runtime.journal.add(f"{MARKER}\0"),
        lambda: runtime.journal.add(MARKER * 200_000),
        lambda: runtime.journal.add(f"{MARKER}\ud800"),
        lambda: runtime.journal.add(TEXT, journal=f"{MARKER}!"),
        lambda: runtime.journal.add(TEXT, uuid=f"{MARKER}!"),
        lambda: runtime.journal.entity(f"{MARKER} Nobody"),
        lambda: cypher.write(default_client(), "default", "CREATE (:X {a: $a}) RETURN nonsense(", {"a": TEXT}),
        lambda: cypher.write(default_client(), "default", "RETURN $a", {"a": f"{MARKER}\0"}),
        lambda: read_text(TEXT, episode.valid_at, Faulty(AnswerUnreadable(len(TEXT), "is odd")), lambda: False),
    ]
    for provoke in provoked:
        with pytest.raises(CharlieError) as raised:
            provoke()
        told = "".join(traceback.format_exception(raised.value, chain=True)) + repr(raised.value)
        # A traceback shows our source, which has the provoking line; what it says of values must not have the word.
        values = [line for line in told.splitlines() if "provoke" not in line and "lambda" not in line]
        assert MARKER not in "\n".join(values), raised.value


def test_search_finds_what_is_planted(home: Path) -> None:
    """The guard of this file: a word in a log would be seen."""
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "charlie.log").write_text(f"INFO read {MARKER.lower()}")
    assert files_with_marker(home) == {"logs"}


def test_reprs_have_no_word(runtime_immediate: Runtime) -> None:
    """What a traceback or a debug log would show of our values."""
    uuid = runtime_immediate.journal.add(TEXT, title=MARKER)
    extract_nodes_task(uuid, "default").get()
    shown = repr(
        (
            runtime_immediate.journal.get(uuid),
            runtime_immediate.journal.page(),
            runtime_immediate.journal.connections(uuid),
            runtime_immediate.journal.entities(),
        )
    )
    assert uuid in shown
    assert MARKER not in shown

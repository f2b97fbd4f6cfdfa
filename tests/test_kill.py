"""Kill -9 at random moments: the worker, the screen, the database, all of them."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.database import cypher
from backend.database.connection import default_client
from backend.services.launch import start_worker
from backend.services.runtime import Runtime
from backend.settings import CHECKOUT
from tests.terminal import Terminal
from tests.waiting import until
from tests.writer_process import TEXT

VICTIMS = ("worker", "screen", "database", "everything", "database and screen")
N_TRIALS = 25

type MakeRuntime = Callable[..., Runtime]


@pytest.mark.parametrize("trial", range(N_TRIALS))
def test_nothing_acknowledged_is_lost(make_runtime: MakeRuntime, home: Path, trial: int) -> None:
    """Every acknowledged entry is there, and every entry has been read exactly once in the end."""
    dice = random.Random(trial)
    mode = ("thread", "process")[trial % 2]
    acknowledged = run_until_killed(VICTIMS[trial % len(VICTIMS)], mode, home, dice)
    runtime = make_runtime(worker="thread")
    start_worker(runtime)
    assert until(lambda: runtime.gate.is_held and runtime.status().pending == 0)
    assert runtime.status().dead == 0
    assert_read_once(runtime, acknowledged)


def run_until_killed(victim: str, mode: str, home: Path, dice: random.Random) -> set[str]:
    """The screen reads in a real terminal while another process saves; the uuids that were acknowledged."""
    output = home.parent / "output"
    screen = Terminal([sys.executable, "charlie.py"], env=os.environ | {"CHARLIE_WORKER": mode}, cwd=CHECKOUT)
    with output.open("wb") as file, screen:
        command = [sys.executable, "-m", "tests.writer_process"]
        writer = subprocess.Popen(command, stdout=file, cwd=CHECKOUT, env=os.environ)
        try:
            screen.wait_until(lambda: b"saved" in output.read_bytes(), "a saved entry")
            screen.pause(dice.uniform(0, 0.9))
            kill(victim, screen.pid, writer.pid, home)
            screen.pause(dice.uniform(0, 0.3))
        finally:
            writer.kill()
            writer.wait()
            if screen.status is None:
                os.kill(screen.pid, signal.SIGKILL)
    acknowledged = {line.split()[1].decode() for line in output.read_bytes().splitlines() if line.endswith(b" .")}
    assert acknowledged
    return acknowledged


def kill(victim: str, screen_pid: int, writer_pid: int, home: Path) -> None:
    """SIGKILL to what the trial is about."""
    worker_pid = number_in(home / "run" / "worker.lock")
    server_pid = number_in(home / "database" / "server.lock")
    pids = {
        "worker": [worker_pid],
        "screen": [screen_pid],
        "database": [server_pid],
        "database and screen": [server_pid, screen_pid],
        "everything": [server_pid, screen_pid, worker_pid, writer_pid],
    }[victim]
    for pid in pids:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def number_in(path: Path) -> int:
    """The process that a lock file names first; 0 for none."""
    words = path.read_text().split() if path.exists() else []
    return int(words[0]) if words and words[0].isdigit() else 0


def assert_read_once(runtime: Runtime, acknowledged: set[str]) -> None:
    """All there, each with one reading of its text, and nobody twice among the entities."""
    query = (
        "MATCH (e:Episode) OPTIONAL MATCH (e)-[m:MENTIONS]->(x:Entity) "
        "RETURN e.uuid AS uuid, e.text AS text, e.read_revision AS read, e.revision AS revision, "
        "count(m) AS mentions, count(DISTINCT m.start) AS places"
    )
    records = cypher.read(default_client(), "default", query)
    assert acknowledged <= {record["uuid"] for record in records}
    assert {(record["text"], record["read"]) for record in records} == {(TEXT, 1)}
    counts = Counter((record["mentions"], record["places"]) for record in records)
    assert len(counts) == 1, counts
    (n_mentions, n_places), _ = counts.popitem()
    assert n_mentions == n_places >= 3
    entities = [(entity.name, entity.type) for entity in runtime.journal.entities()]
    assert len(entities) == len(set(entities))
    assert default_client().keys("episode:*") == []

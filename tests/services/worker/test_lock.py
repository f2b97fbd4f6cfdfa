"""One worker at a time, whoever asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.services.worker.lock import WorkerGate
from backend.settings import CHECKOUT

HOLDER = """
import sys
from pathlib import Path
from backend.services.worker.lock import WorkerGate
assert WorkerGate(Path(sys.argv[1])).enter(lambda s: True)
print("in", flush=True)
sys.stdin.read()
"""


def refuse(seconds: float) -> bool:
    """Gives up at once."""
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder that is not there yet."""
    return tmp_path / "run"


def test_one_at_a_time(folder: Path) -> None:
    """Entering twice is once; the next comes in when the first has left."""
    first, second = WorkerGate(folder), WorkerGate(folder)
    assert first.holder_pid() is None
    assert first.enter(refuse)
    assert first.enter(refuse)
    assert not second.enter(refuse)
    assert not second.is_held
    assert second.holder_pid() == os.getpid()
    first.leave()
    first.leave()
    assert second.holder_pid() is None
    assert second.enter(refuse)
    second.leave()


def test_waiting_until_the_other_leaves(folder: Path) -> None:
    """Whoever waits is let in."""
    first, second = WorkerGate(folder), WorkerGate(folder)
    first.enter(refuse)

    def wait(seconds: float) -> bool:
        first.leave()
        return False

    assert second.enter(wait)
    second.leave()


def test_another_process_is_named_and_lets_go_when_killed(folder: Path) -> None:
    """The kernel drops the lock, however its holder ends."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    gate = WorkerGate(folder)
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        assert gate.holder_pid() == process.pid
        assert not gate.enter(refuse)
        process.kill()
        process.wait()
    assert gate.holder_pid() is None
    assert gate.enter(refuse)
    gate.leave()

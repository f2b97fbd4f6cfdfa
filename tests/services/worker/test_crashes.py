"""What a process leaves that dies in a model call: a crash is told from a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backend.services.worker.crashes import Crashes, Leftover
from backend.settings import CHECKOUT

VICTIM = """
import ctypes, os, signal, sys
from pathlib import Path
from backend.services.worker.crashes import Crashes
crashes = Crashes(Path(sys.argv[1]))
crashes.watch()
with crashes.marked(sys.argv[2], sys.argv[3]):
    if sys.argv[4] == "segfault":
        ctypes.string_at(0)
    elif sys.argv[4] == "abort":
        os.abort()
    elif sys.argv[4] == "raise":
        raise SystemExit(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A home's run folder."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def die(folder: Path, how: str, uuid: str = "e1", weights: str = "w1") -> None:
    """A process that ends in the middle of a model call."""
    command = [sys.executable, "-c", VICTIM, str(folder), uuid, weights, how]
    status = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False).returncode
    expected = {"segfault": -signal.SIGSEGV, "abort": -signal.SIGABRT, "raise": 1, "kill": -signal.SIGKILL}
    assert status == expected[how]


@pytest.mark.parametrize(("how", "is_crash"), [("segfault", True), ("abort", True), ("kill", False)])
def test_a_crash_is_told_from_a_kill(folder: Path, how: str, is_crash: bool) -> None:
    """A native fault leaves its frames, a kill leaves none; the entry is named once."""
    die(folder, how)
    crashes = Crashes(folder)
    assert crashes.take_leftover() == Leftover(("e1",), "w1", is_crash)
    assert crashes.take_leftover() is None
    assert crashes.had_crash() is is_crash


def test_a_call_that_ends_leaves_nothing(folder: Path) -> None:
    """By returning or by an exception."""
    crashes = Crashes(folder)
    with crashes.marked("e1", "w1"):
        pass
    assert crashes.take_leftover() is None
    die(folder, "raise")
    assert crashes.take_leftover() is None


def test_a_former_crash_does_not_make_a_kill_one(folder: Path) -> None:
    """The frames of the last death do not count for the next."""
    die(folder, "segfault")
    assert Crashes(folder).take_leftover() is not None
    die(folder, "kill", "e2")
    leftover = Crashes(folder).take_leftover()
    assert leftover is not None
    assert not leftover.is_crash


def test_two_entries_on_the_same_weights(folder: Path) -> None:
    """The same entry twice is one; other weights are not to blame; forgiving forgets."""
    for uuid, weights in (("e1", "w1"), ("e1", "w1"), ("e2", "w2")):
        die(folder, "segfault", uuid, weights)
        Crashes(folder).take_leftover()
    crashes = Crashes(folder)
    assert not crashes.are_unusable("w1")
    die(folder, "segfault", "e3", "w1")
    crashes.take_leftover()
    assert crashes.are_unusable("w1")
    assert not crashes.are_unusable("w2")
    crashes.forgive()
    assert not crashes.are_unusable("w1")
    assert not crashes.had_crash()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_half_a_marker_is_none(folder: Path, content: bytes) -> None:
    """The process died while it wrote it: no model had been called."""
    (folder / "in-flight.json").write_bytes(content)
    assert Crashes(folder).take_leftover() is None


def test_one_killed_on_purpose_is_not_blamed(folder: Path) -> None:
    """Whoever kills the worker takes the marker away."""
    die(folder, "kill")
    Crashes(folder).forget_leftover()
    assert Crashes(folder).take_leftover() is None


def test_the_record_is_private(folder: Path) -> None:
    """The fault log holds frames only, for this person only."""
    crashes = Crashes(folder)
    crashes.watch()
    crashes.watch()
    try:
        assert os.stat(folder / "fault.log").st_mode & 0o077 == 0
    finally:
        crashes.unwatch()
        crashes.unwatch()


def test_several_at_once_are_all_named_and_none_is_blamed(tmp_path: Path) -> None:
    """Of entries that were read together nobody knows which one it was: the weights are not counted against."""
    code = (
        "import ctypes, sys; from pathlib import Path; from backend.services.worker.crashes import Crashes\n"
        "crashes = Crashes(Path(sys.argv[1])); crashes.watch()\n"
        "with crashes.marked('e1', 'w'), crashes.marked('e2', 'w'): ctypes.string_at(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=CHECKOUT, check=False)
    crashes = Crashes(tmp_path)
    assert crashes.take_leftover() == Leftover(("e1", "e2"), "w", is_crash=True)
    assert crashes.had_crash()
    assert not crashes.are_unusable("w")

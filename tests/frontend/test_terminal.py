"""Charlie in a real terminal: a pseudo-terminal with an emulator behind it."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from backend.services.runtime import Runtime
from backend.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, ROWS = 100, 30

# Charlie as charlie.py runs it, but for what {extra} does beside it.
PROGRAM = """
import contextlib, ctypes, json, os, sys, threading, time
from concurrent.futures import Future
from backend.services.runtime import Runtime
from backend.settings import load_settings
from frontend.terminal import ScreenGuard
settings = load_settings()
with ScreenGuard(settings.logs_dir):
    runtime = Runtime(settings)
    opening = Future()
    from frontend.app import CharlieApp
    app = CharlieApp(runtime, opening)
    def begin():
        runtime.open()
        opening.set_result(None)
    threading.Thread(target=begin, daemon=True).start()
    {extra}
    app.run()
    runtime.close()
with contextlib.suppress(OSError):
    print("back in the shell", flush=True)
os._exit(app.return_code or 0)
"""
NATIVE_NOISE = """
    libc = ctypes.CDLL(None)
    def noise():
        for number in range(200):
            for descriptor in (1, 2):
                line = b"NATIVE NOISE %d\\n" % number
                libc.write(descriptor, line, len(line))
            time.sleep(0.005)
    threading.Thread(target=noise, daemon=True).start()
"""
MODULES = """
    def note():
        with open(settings.home / "modules.json", "w") as file:
            json.dump(sorted(sys.modules), file)
    first = app.note_shown
    def noted():
        note()
        first()
    app.note_shown = noted
"""

DEFECT = """
    def broken():
        secret = "word of the journal"
        raise ValueError(secret)
    app.note_shown = broken
"""


class Terminal:
    """A program on a pseudo-terminal, and what its screen shows."""

    def __init__(self, *argv: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(sys.executable, [sys.executable, *argv], {**os.environ, "TERM": "xterm-256color"})
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self.status: int | None = None

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(self._screen.display)

    def pump(self, seconds: float) -> None:
        """Feeds the emulator for so long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            if select.select([self._fd], [], [], left_s)[0]:
                try:
                    self._stream.feed(os.read(self._fd, 65536))
                except OSError:
                    return

    def until(self, holds: Callable[[], object], seconds: float = 10) -> None:
        """Feeds the emulator until something holds."""
        end_s = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end_s, f"it never came to hold; the screen:\n{self.text}"
            self.pump(0.02)

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._fd, keys.encode())

    def hang_up(self) -> None:
        """Closes the terminal's window."""
        os.close(self._fd)

    def wait(self, seconds: float) -> int:
        """The exit status, once the program has ended by itself."""
        end_s = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            else:
                assert time.monotonic() < end_s, "the program goes on"
                self._drain()
        return self.status

    def _drain(self) -> None:
        try:
            self.pump(0.02)
        except (OSError, ValueError):
            time.sleep(0.02)

    def end(self) -> None:
        """Ends the program if it still runs, in order if it can, so that its server goes too."""
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.wait(5)
            finally:
                if self.status is None:
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Terminal]]:
    """A function that starts Charlie on a terminal of its own, with lines of Python beside it."""
    terminals: list[Terminal] = []

    def begin(extra: str = "") -> Terminal:
        terminals.append(Terminal("-c", PROGRAM.replace("{extra}", extra.strip())))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.end()


def _drafts(settings: Settings) -> list[str]:
    return [json.loads(path.read_text("utf-8"))["text"] for path in settings.drafts_dir.glob("*.json")]


def test_native_output_never_reaches_the_screen(start: Callable[..., Terminal], settings: Settings) -> None:
    """What C code writes to file descriptors 1 and 2 goes to a log; the screen stays whole and goes on drawing."""
    terminal = start(NATIVE_NOISE)
    terminal.until(lambda: "Press n and write" in terminal.text)
    terminal.press("n")
    terminal.pump(0.3)
    terminal.press("still drawing")
    terminal.until(lambda: "still drawing" in terminal.text)
    terminal.pump(1.0)
    assert "NATIVE" not in terminal.text
    log = settings.logs_dir / "native.log"
    assert log.read_text().count("NATIVE NOISE") == 400
    assert log.stat().st_mode & 0o777 == 0o600
    terminal.press("\x13")  # ctrl+s
    terminal.until(lambda: "Saved." in terminal.text)
    terminal.press("\x11")  # ctrl+q
    assert terminal.wait(3) == 0
    assert "back in the shell" in terminal.text
    assert "drawing" not in (settings.logs_dir / "charlie.log").read_text()


@pytest.mark.parametrize("ending", ["close", "ctrl+q", "SIGTERM"])
def test_typing_survives_the_end(start: Callable[..., Terminal], settings: Settings, ending: str) -> None:
    """Closing the window, ctrl+q or a kill right after a key: the text is a draft, and the program ends in order."""
    terminal = start()
    terminal.until(lambda: "Press n and write" in terminal.text)
    terminal.press("n")
    terminal.until(lambda: "New entry" in terminal.text)
    terminal.press("half a thought")
    terminal.until(lambda: "half a thought" in terminal.text)
    began_s = time.monotonic()
    if ending == "close":
        terminal.hang_up()
    elif ending == "ctrl+q":
        terminal.press("\x11")
    else:
        os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.wait(3) == 0
    assert time.monotonic() - began_s < 2
    assert _drafts(settings) == ["half a thought"]


def test_ctrl_c_loses_nothing(start: Callable[..., Terminal], settings: Settings) -> None:
    """It is the key to copy with; the editor stays."""
    terminal = start()
    terminal.until(lambda: "Press n and write" in terminal.text)
    terminal.press("n")
    terminal.until(lambda: "New entry" in terminal.text)
    terminal.press("kept\x03 on")
    terminal.until(lambda: "kept on" in terminal.text)


def test_two_charlies_share_a_home(start: Callable[..., Terminal], settings: Settings, home: Path) -> None:
    """The first quits, the second saves: nothing crashes, nothing is lost."""
    first, second = start(), start()
    first.until(lambda: "Press n and write" in first.text)
    second.until(lambda: "Press n and write" in second.text)
    second.press("n")
    second.until(lambda: "New entry" in second.text)
    second.press("written by the second")
    second.until(lambda: "written by the second" in second.text)
    first.press("q")
    assert first.wait(3) == 0
    second.press("\x1b")
    second.until(lambda: "1 entry" in second.text)
    second.press("q")
    assert second.wait(3) == 0
    runtime = Runtime(load_settings(home=home))
    runtime.open()
    try:
        assert [episode.title for episode in runtime.journal.page().episodes] == ["written by the second"]
    finally:
        runtime.close()


def test_the_first_paint_waits_for_no_heavy_import(start: Callable[..., Terminal], home: Path) -> None:
    """None of what a start must not pay for is loaded when the entries are on the screen."""
    terminal = start(MODULES)
    terminal.until(lambda: "Press n and write" in terminal.text)
    terminal.until(lambda: (home / "modules.json").exists())
    terminal.pump(0.1)
    loaded = set(json.loads((home / "modules.json").read_text()))
    heavy = {"llama_cpp", "dspy", "litellm", "numpy", "typer", "dateparser", "rich.markdown", "tree_sitter", "pygments"}
    assert loaded & heavy == set()


def test_a_defect_ends_without_words_of_the_journal(start: Callable[..., Terminal], settings: Settings) -> None:
    """Where and what kind is said and logged; values of variables and messages, which may quote, are not."""
    terminal = start(DEFECT)
    assert terminal.wait(8) == 1
    assert "Charlie had to stop (ValueError at <string>" in terminal.text
    assert "word of the journal" not in terminal.text
    logs = "".join(path.read_text() for path in settings.logs_dir.iterdir())
    assert "ValueError at" in logs
    assert "word of the journal" not in logs


def test_python_logging_goes_to_a_private_file(start: Callable[..., Terminal], settings: Settings) -> None:
    """Warnings of libraries are kept for a report, away from the screen."""
    terminal = start("import logging; logging.getLogger('somewhere').warning('a warning with number %d', 7)")
    terminal.until(lambda: "Press n and write" in terminal.text)
    assert "a warning" not in terminal.text
    log = settings.logs_dir / "charlie.log"
    assert "somewhere a warning with number 7" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600

"""A terminal that a test or a benchmark holds the other end of: runs a command, sends keys, sees what is painted."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

_READ_BYTES = 65_536
_LOOK_S = 0.05
# Anything that places or colours text: what is left is the text in the order in which it was sent.
_CONTROL = re.compile(rb"\x1b\[[0-9;:?<>=!$ ]*[A-Za-z@`{|}~]|\x1b[()][A-Z0-9]|\x1b[=>78]")


class NotSeen(AssertionError):
    """What was waited for did not come; carries what the screen shows."""

    def __init__(self, wanted: str, terminal: "Terminal") -> None:
        super().__init__(f"waited for {wanted}; the screen shows:\n{terminal.text}")


class Terminal:
    """A command in a terminal of its own, as a context: what still runs at the end is killed.

    Times are monotonic seconds, taken when bytes arrive, before the screen is worked out from them.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        columns: int = 120,
        lines: int = 40,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._unseen = b""
        self._raw = bytearray()
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.started_s = time.monotonic()
        try:
            self._process = subprocess.Popen(
                command,
                env={**env, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
                cwd=cwd,
                preexec_fn=lambda: os.login_tty(slave),
            )
        finally:
            os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process that runs in the terminal."""
        return self._process.pid

    @property
    def text(self) -> str:
        """What is on the screen, a line a row."""
        self._draw()
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def changed_rows(self) -> set[int]:
        """Rows painted since this was last asked."""
        self._draw()
        changed, self._screen.dirty = set(self._screen.dirty), set()
        return changed

    def row(self, number: int) -> str:
        """One row of the screen, from 0 at the top."""
        self._draw()
        cells = self._screen.buffer[number]
        return "".join(cells[column].data for column in range(self._screen.columns))

    @property
    def n_rows(self) -> int:
        """Rows of the screen."""
        return int(self._screen.lines)

    def send(self, keys: str) -> float:
        """Types `keys`; when."""
        sent_s = time.monotonic()
        os.write(self._master, keys.encode())
        return sent_s

    def read(self, timeout_s: float) -> float | None:
        """Takes what arrives within the time, at once when there is something; when it came, None for nothing."""
        if not select.select([self._master], [], [], max(0.0, timeout_s))[0]:
            return None
        arrived_s = time.monotonic()
        try:
            piece = os.read(self._master, _READ_BYTES)
        except OSError:  # EIO: nobody holds the other end any more
            time.sleep(min(timeout_s, _LOOK_S))
            return None
        self._unseen += piece
        self._raw += piece
        return arrived_s

    def drain(self, quiet_s: float, *, limit_s: float = 10.0) -> None:
        """Reads until nothing has come for `quiet_s`, or the limit."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s and self.read(quiet_s) is not None:
            pass

    def pause(self, seconds: float) -> None:
        """Lets time go by and reads meanwhile, as a terminal does."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            self.read(left_s)

    def wait_until(self, is_so: Callable[[], bool], wanted: str, *, timeout_s: float = 20.0) -> float:
        """When the piece arrived after which `is_so()` held. Raises NotSeen."""
        deadline_s = time.monotonic() + timeout_s
        seen_s = time.monotonic()
        while not is_so():
            if time.monotonic() > deadline_s or ((arrived_s := self.read(_LOOK_S)) is None and self._has_ended()):
                raise NotSeen(wanted, self)
            seen_s = arrived_s or seen_s
        return seen_s

    def wait_for(self, text: str, *, timeout_s: float = 20.0) -> float:
        """When the piece arrived after which `text` stood on the screen. Raises NotSeen."""
        return self.wait_until(lambda: text in self.text, repr(text), timeout_s=timeout_s)

    def wait_for_sent(self, text: str, *, timeout_s: float = 20.0) -> float:
        """As `wait_for`, for the first paint: looks at the bytes and works the screen out only once they hold `text`.

        A first paint of 30 kB takes this terminal 40 ms to work out, which would count as the program's.
        """
        needle = text.encode()
        seen_s = self.wait_until(lambda: needle in _CONTROL.sub(b"", self._raw), repr(text), timeout_s=timeout_s)
        return seen_s if text in self.text else self.wait_for(text, timeout_s=timeout_s)

    def wait_gone(self, *, timeout_s: float = 20.0) -> float:
        """When the process had ended. Raises NotSeen."""
        deadline_s = time.monotonic() + timeout_s
        while self._process.poll() is None:
            if time.monotonic() > deadline_s:
                raise NotSeen("the end of the process", self)
            self.read(0.002)
        return time.monotonic()

    @property
    def status(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll()

    def close(self) -> None:
        """Ends what still runs. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def _draw(self) -> None:
        piece, self._unseen = self._unseen, b""
        if piece:
            self._stream.feed(piece)

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

"""How far a search is, on stderr: one line that changes on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections import deque
from typing import Final, TextIO

# The time left is told by the pace of the last ones: those of a resumed run come at once, up to where it was.
_PACE_OVER: Final = 30


class Meter:
    """Counts entries that were read; of many threads. Nobody knows the exact number before the end."""

    def __init__(self, total: int, *, line_every_s: float = 10.0) -> None:
        # Said now: DSPy's own output is sent elsewhere while it works.
        self._out: TextIO = sys.stderr
        self._is_terminal = self._out.isatty()
        self._every_s = 0.2 if self._is_terminal else line_every_s
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=_PACE_OVER)
        self._told_s = time.monotonic()
        self._total = total
        self.done = 0
        self.phase = ""

    def tick(self) -> None:
        """One more entry is read."""
        with self._lock:
            now_s = time.monotonic()
            self.done += 1
            self._times.append(now_s)
            if now_s - self._told_s >= self._every_s:
                self._told_s = now_s
                self._tell()

    def say(self, line: str) -> None:
        """A line that stays."""
        with self._lock:
            clear = "\r\x1b[K" if self._is_terminal else ""
            print(f"{clear}{line}", file=self._out, flush=True)

    def close(self) -> None:
        """Nothing more is told."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=self._out, flush=True)

    def _tell(self) -> None:
        n_left = max(0, self._total - self.done)
        pace_s = (self._times[-1] - self._times[0]) / max(1, len(self._times) - 1)
        told = f"{self.phase}: {self.done} of about {self._total} readings, about {_duration(n_left * pace_s)} left"
        if self._is_terminal:
            print(f"\r\x1b[K{told}", end="", file=self._out, flush=True)
        else:
            print(told, file=self._out, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

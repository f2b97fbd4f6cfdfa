"""How far a long run is, on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

# What is over sooner needs no bar.
_QUIET_S: Final = 1.0
# An instruct model takes seconds an entry: over less the time left would jump.
_PACE_OVER_S: Final = 600.0


class Progress:
    """Steps of one piece of work; used by one thread."""

    def __init__(self, what: str, total: int, bar: Bar, line_every_s: float) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self._bar = bar
        self._task = bar.add_task(what, total=total, visible=False)
        self._line_every_s = line_every_s
        self._started_s = self._told_s = time.monotonic()

    def show(self) -> None:
        """From now on the bar is seen; from any thread."""
        self._bar.update(self._task, visible=True)

    def tick(self) -> None:
        """One more step is done."""
        self.reach(self.done + 1)

    def reach(self, done: int) -> None:
        """So many steps are done."""
        self.done = done
        self._bar.update(self._task, completed=done)
        now_s = time.monotonic()
        if self._bar.disable and done and now_s - self._told_s > self._line_every_s:
            self._told_s = now_s
            left_s = (now_s - self._started_s) / done * (self.total - done)
            print(f"{self.what}: {done} of {self.total}, about {left_s:.0f} s left", file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, total: int, *, line_every_s: float = 10.0) -> Iterator[Progress]:
    """A display that goes away when the block ends; nothing of it gets onto stdout."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
        speed_estimate_period=_PACE_OVER_S,
    ) as bar:
        shown = Progress(what, total, bar, line_every_s)
        waiting = Timer(_QUIET_S, shown.show)
        waiting.start()
        try:
            yield shown
        finally:
            waiting.cancel()

"""What every group of benchmarks gets: homes, how often to repeat, and somewhere to say how far it is."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.homes import Homes
from tests.terminal import NotSeen, Terminal


@dataclass(frozen=True, slots=True)
class Bench:
    """The circumstances of one run of the benchmarks."""

    homes: Homes
    # A tenth of the repetitions: shows that it works, and roughly where things stand.
    is_quick: bool

    def times(self, full: int, quick: int) -> int:
        """How often to repeat."""
        return quick if self.is_quick else full

    def say(self, words: str) -> None:
        """Progress, on stderr."""
        print(f"  {words}", file=sys.stderr, flush=True)


def wait_while_reading(terminal: Terminal, is_so: Callable[[], bool], wanted: str, *, timeout_s: float = 60.0) -> None:
    """Waits for something that does not show on the screen, and reads the terminal meanwhile. Raises NotSeen."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline_s or terminal.status is not None:
            raise NotSeen(wanted, terminal)
        terminal.pause(0.05)

"""From the key that quits to the moment when the process, and its database server, are gone."""

import time
from pathlib import Path

from backend.domain import ModelState
from tests.bench.bench import Bench, wait_while_reading
from tests.bench.figures import Figure
from tests.bench.homes import Observer, bare_app, charlie, newest_title
from tests.bench.machine import is_alive
from tests.terminal import Terminal

_SIZE = 5_000
_SETTLED_S = 2.0
# After the model began: while it reads the prompt, and while it writes.
_INTO_THE_CALL_S = (0.5, 6.0)
_SHAPE = "a random-weight model of the shape of one with 0.6 billion parameters, Q8_0"


def measure(bench: Bench) -> list[Figure]:
    """Idle, in the middle of a model call, and a bare application for comparison."""
    home = bench.homes.with_entries(_SIZE)
    idle, bare = [], []
    for number in range(bench.times(8, 2)):
        bench.say(f"quit, round {number}")
        idle.append(_quit_idle(home))
        with bare_app() as terminal:
            terminal.wait_for_sent("Nothing but this line.")
            terminal.pause(0.5)
            bare.append(_quit_bare(terminal))
    busy = []
    waiting, weights = bench.homes.with_waiting(3), bench.homes.llm()
    for number in range(bench.times(6, 2)):
        bench.say(f"quit in a model call, round {number}")
        busy.append(_quit_busy(waiting, weights, _INTO_THE_CALL_S[number % len(_INTO_THE_CALL_S)]))
    return [
        Figure("quit.idle", "quit to process and server gone, idle", "s", idle, {"median": 0.8}, "3.1 s"),
        Figure("quit.busy", "  in the middle of a model call", "s", busy, {"median": 2, "p95": 2}, "12 s", _SHAPE),
        Figure("quit.bare", "  a bare Textual app", "s", bare, theirs="0.24 s"),
    ]


def _quit_idle(home: Path) -> float:
    with charlie(home) as terminal:
        terminal.wait_for_sent(newest_title(_SIZE))
        with Observer(home) as observer:
            wait_while_reading(terminal, lambda: observer.worker() is not None, "the worker")
            terminal.pause(_SETTLED_S)
            return _quit(terminal, observer.server_pid)


def _quit_busy(home: Path, weights: Path, into_the_call_s: float) -> float:
    with charlie(home, CHARLIE_LLM_PATH=str(weights)) as terminal:
        terminal.wait_for_sent("Charlie")
        with Observer(home) as observer:
            wait_while_reading(terminal, lambda: is_decoding(observer, terminal.pid), "a model call")
            terminal.pause(into_the_call_s)
            if not is_decoding(observer, terminal.pid):
                raise RuntimeError("the model call ended before it could be left: the entry was too short")
            return _quit(terminal, observer.server_pid)


def is_decoding(observer: Observer, pid: int) -> bool:
    """Whether this process's worker is in a call of the instruct model."""
    worker = observer.worker()
    return (
        worker is not None
        and worker.pid == pid
        and (worker.model.kind, worker.model.state) == ("llm", ModelState.BUSY)
        and bool(worker.reading_uuid)
    )


def _quit(terminal: Terminal, server_pid: int) -> float:
    sent_s = terminal.send("q")
    terminal.wait_gone()
    while is_alive(server_pid):
        time.sleep(0.002)
    return time.monotonic() - sent_s


def _quit_bare(terminal: Terminal) -> float:
    sent_s = terminal.send("q")
    return terminal.wait_gone() - sent_s

"""What Charlie takes while nobody does anything: memory, processor time, and commands to its database."""

from pathlib import Path

from backend.domain import ModelState
from tests.bench.bench import Bench, wait_while_reading
from tests.bench.figures import Figure
from tests.bench.homes import Observer, bare_app, charlie, newest_title
from tests.bench.machine import cpu_seconds, resident_mib

_SIZE = 5_000
# Until the worker has begun and the other screens have been imported.
_SETTLED_S = 4.0
_NOTE = "Rss of /proc/PID/smaps_rollup of the process that is the screen and the worker"


def measure_memory(bench: Bench) -> list[Figure]:
    """Resident memory of the Python process: at idle, with the tagger loaded, one second after unloading."""
    home, waiting = bench.homes.with_entries(_SIZE), bench.homes.with_waiting(20)
    idle, loaded, unloaded, bare = [], [], [], []
    for number in range(bench.times(3, 1)):
        bench.say(f"memory, round {number}")
        idle.append(_idle_mib(home))
        loaded.append(_after_reading_mib(bench.homes.copy_of(waiting), keeps=True))
        unloaded.append(_after_reading_mib(bench.homes.copy_of(waiting), keeps=False))
        with bare_app() as terminal:
            terminal.wait_for_sent("Nothing but this line.")
            terminal.pause(0.5)
            bare.append(resident_mib(terminal.pid))
    return [
        Figure("memory.idle", "memory at idle", "MiB", idle, {"median": 80}, "252 MB", _NOTE),
        Figure("memory.tagger", "  with the tagger loaded", "MiB", loaded, {"median": 180}, "274 MB", _NOTE),
        Figure("memory.unloaded", "  1 s after unloading", "MiB", unloaded, {"median": 100}, "-", _NOTE),
        Figure("memory.bare", "  a bare Textual app", "MiB", bare, theirs="33 MB", note=_NOTE),
    ]


def measure_idle(bench: Bench) -> list[Figure]:
    """Processor time of both processes and commands to the database, over a minute."""
    seconds = bench.times(60, 10)
    bench.say(f"at rest for {seconds} s")
    home = bench.homes.with_entries(_SIZE)
    with charlie(home) as terminal:
        terminal.wait_for_sent(newest_title(_SIZE))
        with Observer(home) as observer:
            wait_while_reading(terminal, lambda: observer.worker() is not None, "the worker")
            terminal.pause(_SETTLED_S)
            pids = terminal.pid, observer.server_pid
            n_before, before_s = observer.n_commands(), [cpu_seconds(pid) for pid in pids]
            terminal.pause(seconds)
            after_s, n_after = [cpu_seconds(pid) for pid in pids], observer.n_commands()
        terminal.send("q")
        terminal.wait_gone()
    shares = [100 * (after - before) / seconds for before, after in zip(before_s, after_s, strict=True)]
    note = f"over {seconds} s, of one core: {shares[0]:.2f} % Python, {shares[1]:.2f} % redis-server"
    n_commands = n_after - n_before - 1
    return [
        Figure("idle.cpu", "processor at idle, 5,000 entries", "%", [sum(shares)], {"median": 0.5}, "16 %", note),
        Figure("idle.commands", "  commands to the database", "/s", [n_commands / seconds], {"median": 10}, "5,400 /s"),
    ]


def _idle_mib(home: Path) -> float:
    with charlie(home) as terminal:
        terminal.wait_for_sent(newest_title(_SIZE))
        with Observer(home) as observer:
            wait_while_reading(terminal, lambda: observer.worker() is not None, "the worker")
        terminal.pause(_SETTLED_S)
        resident = resident_mib(terminal.pid)
        terminal.send("q")
        terminal.wait_gone()
    return resident


def _after_reading_mib(home: Path, *, keeps: bool) -> float:
    wanted = ModelState.READY if keeps else ModelState.UNLOADED
    with charlie(home, CHARLIE_KEEP_LOADED=str(keeps).lower()) as terminal:
        terminal.wait_for_sent("Charlie")
        with Observer(home) as observer:

            def is_done() -> bool:
                worker = observer.worker()
                is_there = worker is not None and worker.model.loads > 0 and worker.model.state is wanted
                return is_there and observer.n_waiting() == 0

            wait_while_reading(terminal, is_done, "all entries read")
        terminal.pause(1.0)
        resident = resident_mib(terminal.pid)
        terminal.send("q")
        terminal.wait_gone()
    return resident

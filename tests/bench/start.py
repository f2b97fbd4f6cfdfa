"""From the start of the process to the first painted home screen, in a real terminal."""

from tests.bench.bench import Bench
from tests.bench.figures import Figure
from tests.bench.homes import bare_app, charlie, newest_title

_SIZES = (0, 1_000, 5_000)
_THEIRS = {0: "2.4 s", 1_000: "2.7 s", 5_000: "2.9 s"}
_FLAT = 1.2


def measure(bench: Bench) -> list[Figure]:
    """Cold as far as Charlie goes: no server runs, but the system has the files in its cache.

    The sizes take turns, so that a busy moment of the machine meets them all; the first round is not counted.
    """
    homes = {size: bench.homes.with_entries(size) for size in _SIZES if size}
    charlies: dict[int, list[float]] = {size: [] for size in _SIZES}
    bare: list[float] = []
    for number in range(bench.times(12, 3) + 1):
        bench.say(f"start, round {number}")
        for size in _SIZES:
            with charlie(homes.get(size) or bench.homes.empty()) as terminal:
                charlies[size].append(terminal.wait_for_sent(newest_title(size)) - terminal.started_s)
                terminal.pause(0.1)
                terminal.send("q")
                terminal.wait_gone()
        with bare_app() as terminal:
            bare.append(terminal.wait_for_sent("Nothing but this line.") - terminal.started_s)
            terminal.send("q")
            terminal.wait_gone()
    figures = [
        Figure(
            f"start.{size}",
            f"start to painted home, {size:,} entries",
            "s",
            charlies[size][1:],
            {"median": 0.6},
            _THEIRS[size],
            "first start ever: the database is made" if size == 0 else "",
        )
        for size in _SIZES
    ]
    growth = [large / small for large, small in zip(charlies[5_000][1:], charlies[1_000][1:], strict=True)]
    return [
        *figures,
        Figure("start.growth", "  5,000 entries against 1,000", "x", growth, {"median": _FLAT}, "1.07 x"),
        Figure("start.bare", "  a bare Textual app", "s", bare[1:], theirs="0.17 s"),
    ]

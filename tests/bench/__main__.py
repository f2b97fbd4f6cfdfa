"""Measures Charlie on this machine and prints one table: `python -m tests.bench`.

Each group replaces its lines of `results.json` beside this file; a quick run writes `results.local.json`.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import engine, hammer, keys, loads, machine, quitting, reading, resting, start, storing
from tests.bench.bench import Bench
from tests.bench.figures import Figure, table, write
from tests.bench.homes import Homes

# In the order in which they run: what starts processes first, while this one is small.
_GROUPS: dict[str, Callable[[Bench], list[Figure]]] = {
    "start": start.measure,
    "memory": resting.measure_memory,
    "idle": resting.measure_idle,
    "quit": quitting.measure,
    "keys": keys.measure,
    "save": storing.measure_saving,
    "home": storing.measure_home,
    "episode": reading.measure_episodes,
    "tagger": reading.measure_tagger,
    "loads": loads.measure,
    "tokens": engine.measure_tokens,
    "engine": engine.measure_engine,
    "unload": engine.measure_memory,
    "hammer": hammer.measure,
}
_FOLDER = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for; 1 where a target is missed."""
    options = _parser().parse_args(arguments)
    for name in [name for name in os.environ if name.startswith("CHARLIE_")]:
        del os.environ[name]
    chosen = options.only or list(_GROUPS)
    results = "results.local.json" if options.quick else "results.json"
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="charlie-bench-") as folder:
        os.environ["CHARLIE_HOME"] = f"{folder}/unused"
        facts = machine.facts(Path(folder))
        homes = Homes(Path(folder))
        try:
            for name, measure in _GROUPS.items():
                if name in chosen:
                    figures += _timed(name, measure, Bench(homes, options.quick))
                    # At once: a group that fails later loses nothing.
                    write(_FOLDER / results, figures, facts)
        finally:
            homes.close()
    print(table(figures))
    return 0 if all(figure.is_met is not False for figure in figures) else 1


def _timed(name: str, measure: Callable[[Bench], list[Figure]], bench: Bench) -> list[Figure]:
    print(f"{name} …", file=sys.stderr, flush=True)
    started_s = time.monotonic()
    figures = measure(bench)
    print(f"{name}: {time.monotonic() - started_s:.0f} s", file=sys.stderr, flush=True)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measures Charlie in a temporary folder (TMPDIR chooses the disk). About 8 minutes.",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(_GROUPS),
        metavar="NAME",
        help=f"only this group, may be repeated: {', '.join(_GROUPS)}",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions: is it in order at all?")
    return parser


if __name__ == "__main__":
    sys.exit(main())

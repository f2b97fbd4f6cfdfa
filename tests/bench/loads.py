"""How often a model is loaded: in a burst of entries, and by asking for the status."""

import time
from random import Random

from backend.services.drain import drain
from tests.bench.bench import Bench
from tests.bench.figures import Figure
from tests.bench.homes import opened
from tests.bench.texts import text_of

_BURST = 50
_WORDS = 60
_ASK_EVERY_S = 0.25


def measure(bench: Bench) -> list[Figure]:
    """Fifty entries that wait are read by the tagger; then the status is asked for, for a minute."""
    bench.say(f"a burst of {_BURST} entries")
    random = Random(50)
    with opened(bench.homes.empty(), worker="thread") as runtime:
        for _ in range(_BURST):
            runtime.journal.add(text_of(random, _WORDS))
        report = drain(runtime)
        n_loads = report.loads
        if report.read != _BURST:
            raise RuntimeError(f"{report.read} of {_BURST} entries were read")
        seconds = bench.times(60, 6)
        bench.say(f"asking for the status for {seconds} s")
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            runtime.status()
            time.sleep(_ASK_EVERY_S)
        n_woken = runtime.session.manager.status().loads - n_loads
    return [
        Figure("loads.burst", f"loads in a burst of {_BURST} entries", "loads", [n_loads], {"median": 1.5}),
        Figure("loads.asked", "  by asking for the status for a minute", "loads", [n_woken], {"median": 0.5}),
    ]

"""Two threads that ask one engine without a pause for a minute, with stops in the middle: nothing fails, none mixes."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from backend.errors import Stopped
from backend.inference.chat import ChatMessage
from backend.inference.engine import Engine
from backend.inference.loader import load_model
from tests.bench.bench import Bench
from tests.bench.figures import Figure
from tests.gguf_factory import write_random_llm

_SECONDS = 60
_THREADS = 2


def measure(bench: Bench) -> list[Figure]:
    """Every second request is stopped after 50 ms; every other must be answered with its own words."""
    seconds = bench.times(_SECONDS, 6)
    bench.say(f"two threads for {seconds} s")
    path = write_random_llm(bench.homes.folder / "hammered.gguf")
    model = load_model(path, kind="llm", n_ctx_tokens=2048, n_threads=1, n_sequences=4)
    engine = Engine(model)
    until_s = time.monotonic() + seconds
    with ThreadPoolExecutor(_THREADS) as pool:
        counts = list(pool.map(lambda which: _hammer(engine, which, until_s), range(_THREADS)))
    model.close()
    n_answers, n_wrong = sum(right for right, _ in counts), sum(wrong for _, wrong in counts)
    if not n_answers:
        raise RuntimeError("no request was answered")
    return [
        Figure("hammer.wrong", "two threads ask for a minute: wrong answers", "", [n_wrong], {"median": 0.5}),
        Figure("hammer.answers", "  answers", "", [n_answers]),
    ]


def _hammer(engine: Engine, which: int, until_s: float) -> tuple[int, int]:
    """How many answers were right, and how many not."""
    n_right = n_wrong = 0
    while time.monotonic() < until_s:
        name = f"{which}-{n_right}"
        question = [ChatMessage("user", name)]
        answer = engine.complete(question, schema={"const": name}, max_tokens=50).text
        n_right, n_wrong = n_right + (answer == f'"{name}"'), n_wrong + (answer != f'"{name}"')
        with suppress(Stopped):
            engine.complete([5] * 900, max_tokens=1000, stopping=_after(0.05))
    return n_right, n_wrong


def _after(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds have gone by from now on."""
    until_s = time.monotonic() + seconds
    return lambda: time.monotonic() > until_s

"""The model engine on a random-weight model of 0.6B shape: what structure costs, what decoding together gains."""

import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, Field

from backend.errors import AnswerUnreadable, Stopped
from backend.graph.signatures import NamedThing
from backend.inference.batch import TokenBatch
from backend.inference.bindings import bindings
from backend.inference.cells import Cells
from backend.inference.chat import ChatMessage
from backend.inference.constraint import ConstraintMaker
from backend.inference.engine import Engine
from backend.inference.loader import LoadedModel, load_model
from backend.inference.sequences import Chooser
from backend.settings import CHECKOUT
from tests.bench.bench import Bench
from tests.bench.figures import Figure
from tests.bench.texts import text_of
from tests.gguf_factory import write_random_llm

_THREADS: Final = 2
_ENTRIES, _ANSWER_TOKENS, _ENTRY_TOKENS, _INSTRUCTION_TOKENS = 8, 120, 200, 1_000
_CYCLES: Final = 10
_SHORT_NOTE = "0.6B shape, Q8_0, random weights, 2 threads"


class _Answer(BaseModel):
    """The reader's own answer, with so many items that it is not over before its limit."""

    entities: Annotated[list[NamedThing], Field(min_length=16, max_length=64)]


SCHEMA: Final = _Answer.model_json_schema()


def measure_tokens(bench: Bench) -> list[Figure]:
    """Choosing and checking a token, with the vocabulary of 151,936 and the reader's own schema."""
    bench.say("token check")
    model = load_model(_small(bench), kind="llm", n_ctx_tokens=512, n_threads=1)
    waits_ms = [_longest_wait_ms(lambda: ConstraintMaker(model)) for _ in range(bench.times(5, 2))]
    maker, random = ConstraintMaker(model), np.random.default_rng(7)
    allowed: list[float] = []
    masked: list[float] = []
    for _ in range(bench.times(10, 2)):
        _write_answer(model, maker, random, allowed, is_masked=False)
        _write_answer(model, maker, random, masked, is_masked=True)
    model.close()
    what = "choosing and checking a token"
    wait = "longest wait of another thread while the vocabulary is built"
    return [
        Figure("engine.token.build", wait, "ms", waits_ms, {"median": 50}),
        Figure("engine.token.allowed", f"{what}, the best is allowed", "ms", allowed, {"median": 0.2}),
        Figure("engine.token.masked", f"{what}, the vocabulary is masked", "ms", masked, {"median": 0.8}),
    ]


def _longest_wait_ms(work: Callable[[], object]) -> float:
    """How late, at most, a thread that wants to run every millisecond gets to run during `work`."""
    waits, is_over = [0.0], threading.Event()

    def tick() -> None:
        before_s = time.perf_counter()
        while not is_over.is_set():
            time.sleep(0.001)
            now_s = time.perf_counter()
            waits.append(1000 * (now_s - before_s))
            before_s = now_s

    ticking = threading.Thread(target=tick)
    ticking.start()
    work()
    is_over.set()
    ticking.join()
    return max(waits)


def _write_answer(
    model: LoadedModel, maker: ConstraintMaker, random: np.random.Generator, samples: list[float], *, is_masked: bool
) -> None:
    """Write one answer token by token; the best is made the one that is allowed, or the best few are made refused."""
    constraint, chooser = maker.constraint(SCHEMA), Chooser(0.0, 0)
    for _ in range(100):
        logits = random.standard_normal(model.n_vocab, dtype=np.float32)
        mask = constraint.mask()
        if is_masked:
            logits[random.choice(np.flatnonzero(~mask), 8, replace=False)] = 100.0
        else:
            logits[random.choice(np.flatnonzero(mask))] = 100.0
        started_s = time.perf_counter()
        token = chooser.choose(logits, constraint)
        constraint.accept(token)
        samples.append(1000 * (time.perf_counter() - started_s))
        if constraint.is_finished:
            return


def measure_engine(bench: Bench) -> list[Figure]:
    """Speed alone and together, a cold load with and without its instructions on disk, and stopping."""
    path = bench.homes.llm()
    return [*_alone(bench, path), *_together(bench, path), *_cold(bench, path), *_cancelled(bench, path)]


def _alone(bench: Bench, path: Path) -> list[Figure]:
    bench.say("one answer against a bare loop")
    model = load_model(path, kind="llm", n_ctx_tokens=1024, n_threads=_THREADS)
    engine = Engine(model)
    prompt = list(range(1000, 1016))
    _answer(engine, prompt)
    ratios = []
    for _ in range(bench.times(3, 1)):
        structured_s = _seconds(lambda: _answer(engine, prompt))
        bare_s = _seconds(lambda: _bare(model, prompt))
        ratios.append(bare_s / structured_s)
    model.close()
    inverse = [1 / ratio for ratio in ratios]
    note = f"{_SHORT_NOTE}; {_ANSWER_TOKENS} tokens; what the schema leaves no choice about is read without asking"
    return [
        Figure(
            "engine.alone", "structured answer, time against a bare loop", "x", inverse, {"median": 1 / 0.9}, "", note
        )
    ]


def _bare(model: LoadedModel, prompt: list[int]) -> None:
    """The same number of tokens, each the best, and nothing else."""
    api, batch, cells = bindings(), TokenBatch(64), Cells(model)
    with model.lock:
        tokens, n_held = prompt, 0
        for _ in range(_ANSWER_TOKENS):
            batch.clear()
            row = batch.add(tokens, position=n_held, sequence=0)
            if api.llama_decode(model.context, batch.struct) != 0:
                raise RuntimeError("llama_decode failed")
            n_held += len(tokens)
            pointer = api.llama_get_logits_ith(model.context, row)
            tokens = [int(np.ctypeslib.as_array(pointer, shape=(model.n_vocab,)).argmax())]
        cells.clear(0)


def _together(bench: Bench, path: Path) -> list[Figure]:
    bench.say("8 entries together, and one after another through llama-cpp-python")
    instructions, entries = _texts(path)
    ours, theirs = [], []
    for _ in range(bench.times(2, 1)):
        theirs.append(_one_after_another(path, instructions, entries))
        ours.append(_all_together(path, instructions, entries))
    note = f"{_SHORT_NOTE}; {_INSTRUCTION_TOKENS} tokens of instructions, {_ENTRY_TOKENS} each, {_ANSWER_TOKENS} back"
    parts = [our_s / their_s for our_s, their_s in zip(ours, theirs, strict=True)]
    per_minute = [60 * _ENTRIES / seconds for seconds in ours]
    theirs_per_minute = [60 * _ENTRIES / seconds for seconds in theirs]
    return [
        Figure(
            "engine.together", "8 entries together, part of the time one by one", "x", parts, {"median": 0.4}, "", note
        ),
        Figure("engine.together.rate", "  entries a minute", "/min", per_minute),
        Figure("engine.together.theirs", "  through create_chat_completion", "/min", theirs_per_minute),
    ]


def _all_together(path: Path, instructions: str, entries: list[str]) -> float:
    model = load_model(path, kind="llm", n_ctx_tokens=2048, n_threads=_THREADS, n_sequences=_ENTRIES)
    engine = Engine(model)
    _answer(engine, list(range(1000, 1016)), max_tokens=2)  # the schema's machinery, which a load pays for once
    started_s = time.perf_counter()
    threads = [threading.Thread(target=_answer, args=(engine, _conversation(instructions, entry))) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started_s
    model.close()
    return seconds


def _one_after_another(path: Path, instructions: str, entries: list[str]) -> float:
    from llama_cpp import Llama, llama

    # Where AMX faults a Q8_0 file crashes without this; there is no parameter for it.
    usual = llama.llama_cpp.llama_model_default_params

    def safe() -> Any:
        params = usual()
        params.use_extra_bufts = False
        return params

    llama.llama_cpp.llama_model_default_params = safe
    try:
        model = Llama(str(path), n_ctx=2048, n_threads=_THREADS, n_threads_batch=_THREADS, verbose=False)
    finally:
        llama.llama_cpp.llama_model_default_params = usual
    form: Any = {"type": "json_object", "schema": SCHEMA}
    warm: Any = [{"role": "user", "content": "Hello."}]
    model.create_chat_completion(warm, response_format=form, max_tokens=2, temperature=0.0)
    started_s = time.perf_counter()
    for entry in entries:
        messages: Any = [{"role": "system", "content": instructions}, {"role": "user", "content": entry}]
        model.create_chat_completion(messages, response_format=form, max_tokens=_ANSWER_TOKENS, temperature=0.0)
    seconds = time.perf_counter() - started_s
    model.close()
    return seconds


def _cold(bench: Bench, path: Path) -> list[Figure]:
    bench.say("a cold load with its instructions on disk")
    instructions, entries = _texts(path)
    folder = path.parent / "prefixes"
    without, with_it = [], []
    for number in range(bench.times(3, 1)):
        without.append(_seconds(lambda: _first_token(path, instructions, entries[0], None)))
        if number == 0:
            _first_token(path, instructions, entries[0], folder)
        with_it.append(_seconds(lambda: _first_token(path, instructions, entries[0], folder)))
    parts = [short / long for short, long in zip(with_it, without, strict=True)]
    what = "cold load to first token, part of the time without the prefix on disk"
    return [
        Figure("engine.cold", what, "x", parts, {"median": 0.4}, "", _SHORT_NOTE),
        Figure("engine.cold.with", "  with it", "s", with_it),
        Figure("engine.cold.without", "  without it", "s", without),
    ]


def _first_token(path: Path, instructions: str, entry: str, folder: Path | None) -> None:
    model = load_model(path, kind="llm", n_ctx_tokens=2048, n_threads=_THREADS)
    _answer(Engine(model, prefix_dir=folder), _conversation(instructions, entry), max_tokens=1)
    model.close()


def _cancelled(bench: Bench, path: Path) -> list[Figure]:
    bench.say("stopping in the middle of a prompt of 8,000 tokens")
    model = load_model(path, kind="llm", n_ctx_tokens=8192, n_threads=_THREADS)
    engine = Engine(model)
    samples = []
    for number in range(bench.times(5, 2)):
        stopping, since = threading.Event(), [0.0]

        def stop(stopping: threading.Event = stopping, since: list[float] = since) -> None:
            since[0] = time.perf_counter()
            stopping.set()

        threading.Timer(1.0 + 0.3 * number, stop).start()
        with suppress(Stopped):
            engine.complete(list(range(1000, 9000)), max_tokens=10, stopping=stopping.is_set)
        samples.append(time.perf_counter() - since[0])
        _answer(engine, list(range(1000, 1016)), max_tokens=4)
    model.close()
    return [
        Figure("engine.cancel", "stopping in a prompt of 8,000 tokens", "s", samples, {"p99": 1.0}, "", _SHORT_NOTE)
    ]


def measure_memory(bench: Bench) -> list[Figure]:
    """Memory of a process of its own, one second after each of ten unloads, above what it was before the first load."""
    bench.say("loading and unloading")
    call = [sys.executable, "-m", "tests.bench.engine", str(bench.homes.llm()), str(bench.times(_CYCLES, 3))]
    said = subprocess.run(call, capture_output=True, check=True, cwd=CHECKOUT).stdout
    above: list[float] = json.loads(said)
    growth = above[-1] - above[1]
    return [
        Figure("engine.memory", "memory above that before loading, 1 s after unloading", "MiB", above, {"p99": 40}),
        Figure("engine.memory.growth", "  the last cycle against the second", "MiB", [growth], {"median": 4}),
    ]


def _cycle(path: Path, count: int) -> list[float]:
    """MiB above the first after each of `count` loads, answers and unloads."""
    from backend.inference.memory import give_back, resident_mb

    gc.collect()
    before_mb, above = resident_mb(), []
    for _ in range(count):
        model = load_model(path, kind="llm", n_ctx_tokens=2048, n_threads=_THREADS, n_sequences=4)
        engine = Engine(model)
        _answer(engine, list(range(1000, 1100)), max_tokens=8)
        model.close()
        del engine, model
        give_back()
        time.sleep(1)
        above.append(resident_mb() - before_mb)
    return above


def _answer(engine: Engine, prompt: Any, max_tokens: int = _ANSWER_TOKENS) -> None:
    """Decode exactly `max_tokens`: the schema does not let the answer end before."""
    with suppress(AnswerUnreadable):
        engine.complete(prompt, schema=SCHEMA, max_tokens=max_tokens)


def _conversation(instructions: str, entry: str) -> list[ChatMessage]:
    return [ChatMessage("system", instructions), ChatMessage("user", entry)]


def _texts(path: Path) -> tuple[str, list[str]]:
    """Instructions and entries of so many tokens."""
    model, random = load_model(path, kind="llm", n_ctx_tokens=256, n_threads=1), Random(7)

    def of_length(n_tokens: int) -> str:
        text = text_of(random, n_tokens)
        return model.detokenize(model.tokenize(text)[:n_tokens])

    found = of_length(_INSTRUCTION_TOKENS), [of_length(_ENTRY_TOKENS) for _ in range(_ENTRIES)]
    model.close()
    return found


def _seconds(work: Callable[[], None]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _small(bench: Bench) -> Path:
    return write_random_llm(bench.homes.folder / "small.gguf")


if __name__ == "__main__":
    print(json.dumps(_cycle(Path(sys.argv[1]), int(sys.argv[2]))))

"""Many requests at once through one thread: decoded together, each with its own answer and its own failure."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest

from backend.errors import AnswerUnreadable, ContextOverflow, InferenceError, Stopped
from backend.inference import DspyLM
from backend.inference.cells import Cells
from backend.inference.chat import ChatMessage
from backend.inference.dspy_lm import quiet_dspy
from backend.inference.engine import Engine
from backend.inference.kept import KeptPrefixes
from backend.inference.loader import LoadedModel, load_model
from backend.inference.progress import Progress
from backend.inference.sequences import Chooser, Completion, Request
from tests.gguf_factory import write_random_llm
from tests.waiting import until

SYSTEM = ChatMessage("system", "You read journals, slowly and well. " * 12)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 20, "maxLength": 40}, "is_sure": {"type": "boolean"}},
    "required": ["name", "is_sure"],
}
# An answer that nobody waits for: 7,000 characters.
ENDLESS: dict[str, Any] = {"type": "string", "minLength": 7000}


@pytest.fixture(scope="module")
def wide(f16_path: Path) -> Iterator[LoadedModel]:
    """A model that decodes eight texts together."""
    model = load_model(f16_path, kind="llm", n_ctx_tokens=2048, n_threads=1, n_sequences=8)
    yield model
    model.close()


@pytest.fixture(scope="module")
def together(wide: LoadedModel) -> Engine:
    """Its engine."""
    return Engine(wide)


def conversation(text: str) -> list[ChatMessage]:
    """The same instructions and a text of its own."""
    return [SYSTEM, ChatMessage("user", text)]


def ask(engine: Engine, text: str, **options: Any) -> Completion:
    """One answer inside the schema."""
    return engine.complete(conversation(text), schema=SCHEMA, max_tokens=100, **options)


def test_batched_answers_are_those_given_alone(together: Engine) -> None:
    """Greedy answers of twelve requests at once, over eight sequences, are the ones that each gets alone.

    Sums are taken in another order when texts share a step, so two tokens within a rounding error of each other could
    change places; among these answers none do.
    """

    def apart(number: int) -> str:
        prompt = list(range(1000 * number, 1000 * number + 30))
        return together.complete(prompt, schema=SCHEMA, max_tokens=100).text

    def behind_the_same(number: int) -> str:
        return ask(together, f"Entry {number}, and {number} more.").text

    for way in (apart, behind_the_same):
        alone = [way(number) for number in range(1, 13)]
        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(way, range(1, 13))) == alone
        assert len(set(alone)) > 2


def test_steps_are_shared(together: Engine) -> None:
    """Eight requests at once take far fewer calls into llama.cpp than one after another; tokens are counted."""

    def steps_of(threads: int) -> tuple[int, int]:
        before = together.totals
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda number: ask(together, f"Walked {number} miles."), range(8)))
        after = together.totals
        return after.steps - before.steps, after.tokens_generated - before.tokens_generated

    alone, n_alone = steps_of(1)
    shared, n_shared = steps_of(8)
    assert shared < alone / 2
    assert n_alone == n_shared > 0


def test_dspy_threads_are_decoded_together(together: Engine) -> None:
    """Eight threads of DSPy's own evaluation share their steps, with nothing said about it."""
    quiet_dspy()
    lm = DspyLM.from_engine(together, "random", max_answer_tokens=200)
    examples = [dspy.Example(entry=f"entry {index}").with_inputs("entry") for index in range(16)]
    predict = dspy.Predict(dspy.Signature("entry -> mood: bool, is_long: bool"))

    def steps_of(threads: int) -> int:
        before = together.totals.steps
        evaluate = dspy.Evaluate(devset=examples, metric=lambda _gold, _found: True, num_threads=threads)
        with dspy.context(lm=lm, adapter=dspy.JSONAdapter(), disable_history=True):
            assert evaluate(predict).score == 100.0
        return together.totals.steps - before

    steps_of(1)  # reads the instructions
    assert steps_of(8) < 0.6 * steps_of(1)


def test_each_failure_is_its_own(together: Engine) -> None:
    """A limit, an overflow, a bad schema and a listener that raises fail alone; those beside them are answered."""

    def refuse(_progress: Progress) -> None:
        raise ZeroDivisionError

    with ThreadPoolExecutor(8) as pool:
        good = [pool.submit(ask, together, f"Fine {number}.") for number in range(4)]
        cut_off = pool.submit(together.complete, [5, 6], schema=ENDLESS, max_tokens=12)
        too_long = pool.submit(together.complete, [5] * 2040, max_tokens=12)
        bad = pool.submit(together.complete, [5, 6], schema={"type": "strin"}, max_tokens=12)
        listening = pool.submit(ask, together, "Listen.", on_progress=refuse)
        assert isinstance(cut_off.exception(), AnswerUnreadable)
        assert isinstance(too_long.exception(), ContextOverflow)
        assert isinstance(bad.exception(), InferenceError)
        assert isinstance(listening.exception(), ZeroDivisionError)
        assert all(len(answer.result().text) > 20 for answer in good)


def test_listener_that_fails_while_instructions_are_read(together: Engine) -> None:
    """They are read for all who wait: whose listener raises gets that, and the others their answers."""

    def refuse(_progress: Progress) -> None:
        raise ZeroDivisionError

    system = ChatMessage("system", "You listen to nobody, slowly and well. " * 80)

    def heed(number: int, **options: Any) -> Completion:
        return together.complete([system, ChatMessage("user", f"{number}.")], schema=SCHEMA, max_tokens=100, **options)

    with ThreadPoolExecutor(4) as pool:
        listening = pool.submit(heed, 0, on_progress=refuse)
        good = [pool.submit(heed, number) for number in range(1, 4)]
        assert isinstance(listening.exception(), ZeroDivisionError)
        assert all(len(answer.result().text) > 20 for answer in good)


def test_cancelled_request_leaves_the_others_alone(together: Engine) -> None:
    """One that is stopped while others decode ends at once, and their answers are what they would have been."""
    alone = [ask(together, f"Quiet {number}.").text for number in range(4)]
    stopping = threading.Event()
    with ThreadPoolExecutor(5) as pool:
        doomed = pool.submit(
            together.complete, [5, 6], schema=ENDLESS, max_tokens=2000, temperature=0.5, stopping=stopping.is_set
        )
        time.sleep(0.1)
        others = [pool.submit(ask, together, f"Quiet {number}.") for number in range(4)]
        stopping.set()
        assert isinstance(doomed.exception(timeout=2), Stopped)
        assert [other.result().text for other in others] == alone


def test_cancelled_prompt_leaves_the_others_alone(tmp_path: Path) -> None:
    """Stopping one in a long prompt breaks off the step that it shares; the others' part of it is done again."""
    path = write_random_llm(tmp_path / "wide.gguf", n_layers=4, n_embd=128, n_ff=1024)
    model = load_model(path, kind="llm", n_ctx_tokens=8192, n_threads=1, n_sequences=2)
    engine = Engine(model)
    alone = ask(engine, "Quiet.").text
    stopping = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        doomed = pool.submit(engine.complete, list(range(100, 8000)), max_tokens=100, stopping=stopping.is_set)
        time.sleep(0.1)
        other = pool.submit(ask, engine, "Quiet.")
        threading.Timer(0.2, stopping.set).start()
        assert isinstance(doomed.exception(timeout=2), Stopped)
        assert other.result(timeout=20).text == alone
    model.close()


def test_two_threads_hammering(together: Engine) -> None:
    """Two threads ask without a pause for a few seconds, short and long, stopped and not: each gets its own."""
    until_s = time.monotonic() + 3

    def hammer(which: int) -> int:
        count = 0
        while time.monotonic() < until_s:
            name = f"{which}-{count}"
            schema = {"const": name}
            assert together.complete(conversation(name), schema=schema, max_tokens=50).text == f'"{name}"'
            started_s = time.monotonic()
            with pytest.raises(Stopped):
                together.complete(
                    [5] * 900,
                    schema=ENDLESS,
                    max_tokens=1000,
                    stopping=lambda started_s=started_s: time.monotonic() - started_s > 0.05,  # type: ignore[misc]
                )
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        assert min(pool.map(hammer, range(2))) > 2


def test_more_than_fits_waits(f16_path: Path) -> None:
    """Requests that together need more than the memory there is are answered one after another."""
    model = load_model(f16_path, kind="llm", n_ctx_tokens=512, n_threads=1, n_sequences=4)
    engine = Engine(model)
    with ThreadPoolExecutor(10) as pool:
        waiting = [
            pool.submit(engine.complete, [7 + number] * 380, max_tokens=120, schema=SCHEMA) for number in range(10)
        ]
        assert all(answer.result(timeout=30).n_generated for answer in waiting)
    model.close()


def test_closing_ends_every_call(f16_path: Path) -> None:
    """An unload with calls in work and waiting ends all of them with our error, at once; twice is once."""
    model = load_model(f16_path, kind="llm", n_ctx_tokens=4096, n_threads=1, n_sequences=2)
    engine = Engine(model)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(engine.complete, [5, 6], schema=ENDLESS, max_tokens=4000) for _ in range(5)]
        # The schema's vocabulary is worked out first, which takes a second or more.
        assert until(lambda: engine.totals.steps > 5)
        started_s = time.monotonic()
        model.close()
        model.close()
        engine.close()
        assert all(isinstance(call.exception(timeout=2), InferenceError) for call in calls)
    assert time.monotonic() - started_s < 1.5
    with pytest.raises(InferenceError, match="unloaded"):
        engine.complete([5, 6], max_tokens=5)
    with pytest.raises(InferenceError, match="unloaded"):
        engine.count_tokens("x")
    assert not [thread for thread in threading.enumerate() if thread is engine._scheduler._thread]


def test_weights_replaced_while_loaded(tmp_path: Path, f16_path: Path) -> None:
    """A file put in place of the weights by renaming changes nothing for the model that is loaded."""
    path = tmp_path / "model.gguf"
    path.write_bytes(f16_path.read_bytes())
    model = load_model(path, kind="llm", n_ctx_tokens=1024, n_threads=1)
    engine = Engine(model, prefix_dir=tmp_path / "prefixes")
    before = ask(engine, "Same.").text
    write_random_llm(tmp_path / "new.gguf", seed=1).replace(path)
    assert ask(engine, "Same.").text == before
    model.close()
    other = load_model(path, kind="llm", n_ctx_tokens=1024, n_threads=1)
    replaced = ask(Engine(other, prefix_dir=tmp_path / "prefixes"), "Same.")
    assert replaced.n_reused == 0
    assert replaced.text != before
    other.close()


def test_progress_rises(tmp_path: Path) -> None:
    """A long request tells how far its prompt is and how fast its answer comes, not more than a few times a second."""
    path = write_random_llm(tmp_path / "wide.gguf", n_layers=4, n_embd=128, n_ff=1024)
    model = load_model(path, kind="llm", n_ctx_tokens=4096, n_threads=1)
    seen: list[Progress] = []
    overall: list[Progress] = []
    engine = Engine(model, on_progress=overall.append)
    started_s = time.monotonic()
    with pytest.raises(AnswerUnreadable):
        engine.complete(list(range(100, 3000)), schema=ENDLESS, max_tokens=300, on_progress=seen.append)
    seconds = time.monotonic() - started_s
    model.close()
    fractions = [progress.prompt_fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 1
    assert fractions[-1] == 1.0
    assert seen[-1].n_generated > 0
    assert seen[-1].tokens_per_s > 0
    assert 2 <= len(seen) <= 4 * seconds + 2
    assert overall


def test_small_context(f16_path: Path) -> None:
    """A context smaller than a step, shared by three, takes what fits and refuses the rest."""
    model = load_model(f16_path, kind="llm", n_ctx_tokens=64, n_threads=1, n_sequences=3)
    engine = Engine(model)
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(engine.complete, [7 + n] * 40, max_tokens=24, schema={"const": "x"}) for n in range(6)]
        assert [answer.result(timeout=10).text for answer in waiting] == ['"x"'] * 6
    with pytest.raises(ContextOverflow):
        engine.complete([7] * 60, max_tokens=24)
    model.close()


def test_memory_that_cannot_be_cut(wide: LoadedModel) -> None:
    """Where one state stands for all that was read, instructions are not kept: every prompt is read as a whole."""
    request = Request([5] * 100, tuple([5] * 90), 10, Chooser(0.0, 0))
    possible, impossible = (KeptPrefixes(Cells(wide), None, first_number=8, can_be_cut=can) for can in (True, False))
    assert possible.shared_length(request) == 90
    assert impossible.shared_length(request) == 0
    assert wide.can_be_cut

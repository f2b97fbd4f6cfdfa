"""Models that remember in other ways than a cache that can be cut: recurrent ones, and those with a sliding window."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backend.errors import Stopped
from backend.inference.chat import ChatMessage
from backend.inference.engine import Engine
from backend.inference.loader import LoadedModel, LoadSettings, load_model
from backend.inference.probe import Prober
from backend.inference.sequences import Completion
from tests.gguf_factory import write_random_gemma3, write_random_mamba
from tests.waiting import until

SYSTEM = ChatMessage("system", "You read journals, slowly and well. " * 12)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 20, "maxLength": 40}, "is_sure": {"type": "boolean"}},
    "required": ["name", "is_sure"],
}
N_ENTRIES = 8


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recurrent model: what was read is one state."""
    return write_random_mamba(tmp_path_factory.mktemp("mamba") / "mamba.gguf")


@pytest.fixture(scope="module")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose layers mostly see the last 32 tokens."""
    return write_random_gemma3(tmp_path_factory.mktemp("gemma3") / "gemma3.gguf")


@contextmanager
def loaded(path: Path) -> Iterator[LoadedModel]:
    """It, for three texts at once."""
    model = load_model(path, kind="llm", n_ctx_tokens=1024, n_threads=1, n_sequences=3)
    try:
        yield model
    finally:
        model.close()


def ask(engine: Engine, number: int, **options: Any) -> Completion:
    """An answer about an entry, behind the same instructions."""
    words = ("river", "office", "lake", "market")[number % 4]
    prompt = [SYSTEM, ChatMessage("user", f"Entry {number}: we went to the {words} and talked.")]
    return engine.complete(prompt, schema=SCHEMA, **{"max_tokens": 100} | options)


def ask_alone(path: Path, number: int) -> str:
    """What a model that has just been loaded, and has read nothing else, answers."""
    with loaded(path) as model:
        return ask(Engine(model), number).text


def test_recurrent_model_is_recognised_and_reads(mamba: Path, tmp_path: Path) -> None:
    """Nothing is shared or kept of what it read, several are in work at once, and each answer is its own."""
    with loaded(mamba) as model:
        assert not model.can_be_cut
        engine = Engine(model, prefix_dir=tmp_path)
        alone = [ask(engine, number) for number in range(N_ENTRIES)]
        n_steps = engine.totals.steps
        with ThreadPoolExecutor(N_ENTRIES) as pool:
            together = list(pool.map(lambda number: ask(engine, number), range(N_ENTRIES)))
        assert engine.totals.steps - n_steps < n_steps / 2
        assert [answer.text for answer in together] == [answer.text for answer in alone]
        assert len({answer.text for answer in alone}) > 2
        assert engine.totals.tokens_reused == 0
    assert not list(tmp_path.glob("*.prefix"))
    assert alone[-1].text == ask_alone(mamba, N_ENTRIES - 1)


def test_recurrent_model_goes_on_after_a_cancel(mamba: Path) -> None:
    """What was read of the others when one was stopped is read again: the state cannot be taken back."""
    with loaded(mamba) as model:
        engine = Engine(model)
        expected = ask(engine, 1).text
        stop = threading.Event()
        with ThreadPoolExecutor(2) as pool:
            endless = {"type": "string", "minLength": 7000}
            doomed = pool.submit(
                engine.complete, [5, 6], schema=endless, max_tokens=1000, temperature=0.5, stopping=stop.is_set
            )
            assert until(lambda: engine.progress is not None)
            other = pool.submit(ask, engine, 1)
            stop.set()
            assert isinstance(doomed.exception(timeout=2), Stopped)
            assert other.result(timeout=20).text == expected


def test_sliding_window_shares_its_instructions(gemma3: Path, tmp_path: Path) -> None:
    """Its instructions are read once, for all and from disk, and every answer is that of a model that read it whole."""
    with loaded(gemma3) as model:
        assert model.can_be_cut
        engine = Engine(model, prefix_dir=tmp_path)
        with ThreadPoolExecutor(N_ENTRIES) as pool:
            together = list(pool.map(lambda number: ask(engine, number), range(N_ENTRIES)))
        assert sorted(answer.n_reused > 80 for answer in together) == [False] + [True] * (N_ENTRIES - 1)
    assert together[3].text == ask_alone(gemma3, 3)
    with loaded(gemma3) as model:
        cold = ask(Engine(model, prefix_dir=tmp_path), 3)
    assert cold.n_reused > 80
    assert cold.text == together[3].text


def test_both_pass_the_probe(mamba: Path, gemma3: Path, tmp_path: Path) -> None:
    """Tried in a child, several texts at once, like any other."""
    for path in (mamba, gemma3):
        wanted = LoadSettings("llm", 1024, 1, use_extra_bufts=True, n_sequences=3)
        assert Prober(tmp_path).safe_settings(path, wanted).n_sequences == 3

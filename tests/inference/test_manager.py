"""Residency: loaded once, held, unloaded when nothing waits, given back."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from backend.domain import ModelState, ModelStatus
from backend.errors import (
    AnswerUnreadable,
    InferenceError,
    ModelTooLarge,
    Stopped,
    StorageUnavailable,
    WeightsMissing,
    WeightsUnusable,
)
from backend.inference import manager as fixed
from backend.inference.loading import ModelLoader
from backend.inference.manager import ModelManager
from backend.inference.memory import give_back, resident_mb
from backend.settings import Settings, load_settings
from tests.gguf_factory import write_random_llm
from tests.waiting import until


class Work:
    """Whether something waits, as a test says."""

    def __init__(self) -> None:
        self.waits = False
        self.asked = 0

    def __call__(self) -> bool:
        """Whether it does; counts the question."""
        self.asked += 1
        return self.waits


@pytest.fixture
def work() -> Work:
    """Nothing waits until the test says so."""
    return Work()


@pytest.fixture
def manager(settings: Settings, work: Work) -> Iterator[ModelManager]:
    """A manager of a home of its own."""
    made = ModelManager(settings, has_work=work)
    yield made
    assert made.unload_all()


def test_a_burst_loads_once(manager: ModelManager, work: Work) -> None:
    """Fifty entries from four threads: one load, held while anything waits."""
    work.waits = True

    def read(index: int) -> int:
        with manager.lease("tagger") as tagger:
            found = len(tagger.read(f"Sarah came by, visit {index}.").entities)
        manager.cleanup_if_no_work()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(50)))
    assert manager.status().loads == 1
    assert manager.status().state is ModelState.READY


def test_unloads_when_nothing_waits(manager: ModelManager, work: Work) -> None:
    """The event that nothing is left frees everything; a late user of the object gets our error."""
    with manager.lease("tagger") as tagger:
        assert manager.status().state is ModelState.BUSY
        assert not manager.cleanup_if_no_work()
    work.waits = True
    assert not manager.cleanup_if_no_work()
    work.waits = False
    assert manager.cleanup_if_no_work()
    assert manager.status().state is ModelState.UNLOADED
    assert not manager.cleanup_if_no_work()
    with pytest.raises(InferenceError, match="unloaded"):
        tagger.read("Sarah came by.")


def test_kept_when_the_settings_say_so(tmp_path: Path) -> None:
    """`keep_loaded` outlasts the work; unloading by hand does not ask it."""
    manager = ModelManager(load_settings(home=tmp_path, keep_loaded=True), has_work=lambda: False)
    manager.get("tagger")
    assert not manager.cleanup_if_no_work()
    assert manager.unload_all()
    assert manager.status().state is ModelState.UNLOADED


def test_arrival_during_an_unload_waits_and_loads_again(settings: Settings) -> None:
    """Who comes while the doors are shut gets a fresh model, and two copies never are."""
    inside, go_on = threading.Event(), threading.Event()

    def no_work() -> bool:
        inside.set()
        assert go_on.wait(5)
        return False

    manager = ModelManager(settings, has_work=no_work)
    first = manager.get("tagger")
    with ThreadPoolExecutor(2) as pool:
        unloading = pool.submit(manager.cleanup_if_no_work)
        assert inside.wait(5)
        arriving = pool.submit(manager.get, "tagger")
        time.sleep(0.1)
        assert not arriving.done()
        go_on.set()
        assert unloading.result(5)
        second = arriving.result(5)
    assert second is not first
    assert second.read("Sarah came by.").entities
    assert manager.status().loads == 2
    manager.unload_all()


def test_a_failing_question_opens_the_doors_again(settings: Settings) -> None:
    """When the ledger cannot be asked, the model stays and can be used."""

    def lost() -> bool:
        raise StorageUnavailable("gone")

    manager = ModelManager(settings, has_work=lost)
    manager.get("tagger")
    with pytest.raises(StorageUnavailable):
        manager.cleanup_if_no_work()
    with manager.lease("tagger") as tagger:
        assert tagger.read("Sarah came by.").entities
    assert manager.status().loads == 1
    assert manager.unload_all()


def test_memory_comes_back(manager: ModelManager) -> None:
    """Ten loads leave the process about where it was."""
    manager.get("tagger")
    manager.unload_all()
    before_mb = resident_mb()
    for _ in range(10):
        with manager.lease("tagger") as tagger:
            tagger.read("Sarah came by. " * 100)
        manager.cleanup_if_no_work()
    give_back()
    assert resident_mb() - before_mb < 25


def test_nothing_is_kept_by_a_circle(manager: ModelManager) -> None:
    """What was unloaded is gone even where the collector was told to leave it alone, as it is after a first load."""
    with manager.lease("tagger") as tagger:
        tagger.read("Dinner with Sarah in Lisbon.")
        seen = weakref.ref(tagger)
    gc.freeze()
    try:
        del tagger
        manager.unload_all()
        assert seen() is None
    finally:
        gc.unfreeze()


def test_status_never_loads(manager: ModelManager, work: Work) -> None:
    """Looking, however often, wakes nothing and asks nothing."""
    for _ in range(200):
        assert manager.status().state is ModelState.UNLOADED
    assert manager.loaded() == {}
    assert work.asked == 0


def test_status_answers_during_a_load(settings: Settings) -> None:
    """The status line is served while a load goes on, and sees it rise."""
    seen: list[ModelStatus] = []
    manager = ModelManager(settings, has_work=lambda: False, on_change=seen.append)
    manager.get("tagger")
    loading = [status for status in seen if status.state is ModelState.LOADING]
    assert loading
    assert loading[-1].progress > 0.5
    assert {status.name for status in loading} == {"charlie-tagger-v1.q8_0.gguf"}
    manager.unload_all()


def test_progress_of_an_answer_is_told_and_ends(tmp_path: Path) -> None:
    """While the instruct model answers, status and listener have how far it is, a few times a second; then nothing."""
    path = write_random_llm(tmp_path / "wide.gguf", n_layers=4, n_embd=128, n_ff=1024)
    seen: list[tuple[float, ModelStatus]] = []
    manager = ModelManager(
        load_settings(home=tmp_path, llm_path=path, n_parallel=1, n_threads=1),
        has_work=lambda: True,
        on_change=lambda status: seen.append((time.monotonic(), status)),
    )
    with manager.lease("llm") as lm:
        assert manager.status().prompt_progress is None
        endless = {"type": "string", "minLength": 7000}
        with pytest.raises(AnswerUnreadable):
            lm.engine.engine.complete(list(range(100, 3000)), schema=endless, max_tokens=300)
        told = [(at_s, status) for at_s, status in seen if status.prompt_progress is not None]
        # Nothing is in work any more, though the model is held.
        assert until(lambda: manager.status().prompt_progress is None)
    assert all(status.state is ModelState.BUSY for _, status in told)
    assert told[0][1].prompt_progress is not None
    assert 0 < told[0][1].prompt_progress < 1
    assert told[-1][1].answer_tokens > 0
    assert told[-1][1].tokens_per_s > 0
    assert all(later[0] - earlier[0] > 0.4 for earlier, later in pairwise(told))
    last = seen[-1][1]
    assert (last.prompt_progress, last.answer_tokens, last.tokens_per_s, last.seconds_left) == (None, 0, 0.0, None)
    assert manager.status().loads == 1
    assert manager.unload_all()


def test_withdrawn_kind_stops_until_other_settings(tmp_path: Path, f16_path: Path) -> None:
    """What it is at ends within a second, what comes ends too, the small models go on; `use` brings it back."""
    settings = load_settings(home=tmp_path, llm_path=f16_path, n_threads=1)
    manager = ModelManager(settings, has_work=lambda: True)
    endless = {"type": "string", "minLength": 7000}
    with manager.lease("llm") as lm, ThreadPoolExecutor(1) as pool:
        engine = lm.engine.engine
        call = pool.submit(engine.complete, [5, 6], schema=endless, max_tokens=3000, temperature=0.5)
        assert until(lambda: engine.progress is not None)
        manager.withdraw("llm")
        assert isinstance(call.exception(timeout=1), Stopped)
        with pytest.raises(Stopped):
            engine.complete([5, 6], max_tokens=5)
    with manager.lease("tagger") as tagger:
        assert tagger.read("Sarah came by.").entities
    manager.use(settings)
    with manager.lease("llm") as lm:
        assert lm.engine.engine.complete([5, 6], schema={"const": "x"}, max_tokens=5).text == '"x"'
    assert manager.status().loads == 2
    assert manager.unload_all()


def test_too_large_is_refused_with_numbers(tmp_path: Path) -> None:
    """A context beyond all memory is refused before loading, in numbers."""
    wide = write_random_llm(tmp_path / "wide.gguf", n_layers=48, n_embd=64, n_heads=1, n_heads_kv=1)
    settings = load_settings(home=tmp_path, llm_path=wide, n_ctx_tokens=262_144, n_parallel=1)
    loader = ModelLoader(settings)
    need = loader.need_bytes("llm")
    assert need > 48 * 262_144 * 64 * 2 * 2
    manager = ModelManager(settings, has_work=lambda: False, available_bytes=lambda: need - 1)
    with pytest.raises(ModelTooLarge, match=r"needs [0-9,]+ MB and [0-9,]+ MB are free"), manager.lease("llm"):
        pass
    assert manager.status().state is ModelState.FAILED
    assert "memory_override" in manager.problem("llm")


def test_failed_load_is_tried_again(tmp_path: Path, f16_path: Path) -> None:
    """A model that was not there is loaded once it is; the reason is shown meanwhile."""
    path = tmp_path / "later.gguf"
    manager = ModelManager(load_settings(home=tmp_path, llm_path=path), has_work=lambda: False)
    with pytest.raises(WeightsMissing), manager.lease("llm"):
        pass
    assert manager.status().state is ModelState.FAILED
    assert str(path) in manager.problem("llm")
    path.write_bytes(f16_path.read_bytes())
    with manager.lease("llm") as lm:
        assert lm.count_tokens("one two") == 2
    assert manager.problem("llm") == ""
    assert manager.unload_all()


def test_no_llm_chosen(manager: ModelManager) -> None:
    """Without a model the way to get one is in the message."""
    with pytest.raises(WeightsMissing, match="charlie models use"), manager.lease("llm"):
        pass


def test_other_settings_bring_another_model(tmp_path: Path, f16_path: Path, q8_path: Path) -> None:
    """A newly chosen model replaces the former at the next lease, and they are never both there."""
    manager = ModelManager(load_settings(home=tmp_path, llm_path=f16_path), has_work=lambda: True)
    with manager.lease("llm") as lm:
        first = lm.weights
        manager.use(load_settings(home=tmp_path, llm_path=q8_path))
    with manager.lease("llm") as lm:
        assert lm.weights != first
    assert manager.status().name == q8_path.name
    assert manager.unload_all()


def test_embedding_model_as_llm(tmp_path: Path) -> None:
    """The wrong kind is refused before any child is started."""
    from backend.settings import EMBEDDING_PATH

    manager = ModelManager(load_settings(home=tmp_path, llm_path=EMBEDDING_PATH), has_work=lambda: False)
    with pytest.raises(WeightsUnusable, match="embedding model"), manager.lease("llm"):
        pass
    assert not (tmp_path / "run" / "probes.json").exists()


def test_fixed_names_act_on_the_default(manager: ModelManager) -> None:
    """`MODELS`, `get_model`, `cleanup_if_no_work` and `unload_all_models` are about the process-wide manager."""
    fixed.set_default_manager(manager)
    try:
        assert {kind: entry["model"] for kind, entry in fixed.MODELS.items()} == dict.fromkeys(fixed.KINDS)
        tagger = fixed.get_model("tagger")
        assert fixed.MODELS["tagger"]["model"] is tagger
        assert fixed.cleanup_if_no_work()
        assert fixed.MODELS["tagger"]["model"] is None
        fixed.get_model("embedding")
        fixed.unload_all_models()
        assert fixed.MODELS["embedding"]["model"] is None
    finally:
        fixed.set_default_manager(None)
    fixed.unload_all_models()
    assert not fixed.cleanup_if_no_work()

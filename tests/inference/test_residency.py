"""Which models may be resident together."""

from pathlib import Path

import pytest

from backend.domain import ModelState
from backend.errors import InferenceError, ModelTooLarge
from backend.inference.loader import Kind
from backend.inference.loading import Loaded, ModelLoader
from backend.inference.manager import ModelManager
from backend.inference.residency import BIG_BYTES, Slot, idle_big, in_the_way, outdated
from backend.settings import Settings, load_settings
from tests.gguf_factory import write_random_encoder, write_random_llm


def slot(loaded: Loaded | None, used_s: float, *, kind: Kind = "llm", leases: int = 0) -> Slot:
    """A model that was leased last at `used_s`, or the place of one."""
    state = ModelState.READY if loaded else ModelState.UNLOADED
    return Slot(kind, state, loaded, leases, used_s)


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    """Stands for any model: what is decided here looks only at whether there is one."""
    return Loaded(None, None, ())  # type: ignore[arg-type]


def test_the_least_recently_used_leaves_first(loaded: Loaded) -> None:
    """Only as many as must, the small ones not counted, and none that is leased."""
    old, new, leased = slot(loaded, 1), slot(loaded, 2), slot(loaded, 0, leases=1)
    tagger, wanted = slot(loaded, 0, kind="tagger"), slot(None, 0)
    everything = [new, tagger, old, leased, wanted]
    assert idle_big(everything) == [old, new]
    assert in_the_way(everything, wanted, 4) == []
    assert in_the_way(everything, wanted, 3) == [old]
    assert in_the_way(everything, wanted, 1) == [old, new]


def test_small_ones_push_nobody_out(loaded: Loaded) -> None:
    """The tagger is loaded beside the big one."""
    big, tagger = slot(loaded, 1), slot(None, 0, kind="tagger")
    assert in_the_way([big, tagger], tagger, 1) == []


def test_size_tells_big_from_small(loaded: Loaded) -> None:
    """A reranker or embedding model of hundreds of MB is as exclusive as an instruct model; a little one is not."""
    little, large = slot(loaded, 0, kind="reranker"), slot(None, 0, kind="reranker")
    little.size_bytes, large.size_bytes = BIG_BYTES - 1, BIG_BYTES
    llm = slot(loaded, 1)
    assert in_the_way([llm, little], llm, 1) == [llm]
    assert in_the_way([llm, large], large, 1) == [llm]
    assert in_the_way([llm, large], large, 2) == []
    assert llm.is_big


def test_a_large_reranker_makes_the_llm_leave(tmp_path: Path, paths: list[Path]) -> None:
    """By the size of the file that the settings name, whatever its kind; back again the same way."""
    large = write_random_encoder(tmp_path / "large.gguf", n_embd=1024, labels=("relevant",))
    with large.open("r+b") as file:
        file.truncate(max(large.stat().st_size, BIG_BYTES))
    manager = ModelManager(chosen(tmp_path, paths[0], reranker_path=large), has_work=lambda: True)
    manager.get("tagger")
    manager.get("llm")
    manager.get("reranker")
    assert set(manager.loaded()) == {"tagger", "reranker"}
    manager.get("llm")
    assert set(manager.loaded()) == {"tagger", "llm"}
    assert manager.unload_all()


def test_a_stale_model_leaves_before_its_successor_is_loaded(loaded: Loaded) -> None:
    """Two copies never are."""
    stale = slot(loaded, 1)
    assert in_the_way([stale], stale, 1) == [stale]


def test_what_other_settings_brought(loaded: Loaded) -> None:
    """A big one stays where there is room beside the one that is wanted; a small one never does."""
    first, second, tagger = slot(loaded, 1), slot(loaded, 2), slot(loaded, 3, kind="tagger")
    assert outdated([second, tagger, first], 1) == [tagger, first, second]
    assert outdated([second, tagger, first], 2) == [tagger, first]
    assert outdated([second, tagger, first], 3) == [tagger]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three instruct models of random weights."""
    folder = tmp_path_factory.mktemp("several")
    return [write_random_llm(folder / f"{n_layers}.gguf", n_layers=n_layers) for n_layers in (1, 2, 3)]


def chosen(home: Path, path: Path, **others: object) -> Settings:
    """Settings under which `path` reads."""
    return load_settings(home=home, llm_path=path, n_ctx_tokens=2048, n_parallel=1, n_threads=1, **others)


def test_one_big_model_at_a_time(tmp_path: Path, paths: list[Path]) -> None:
    """By default the former leaves before the next is loaded; the tagger stays beside them."""
    manager = ModelManager(chosen(tmp_path, paths[0]), has_work=lambda: True)
    tagger, first = manager.get("tagger"), manager.get("llm")
    manager.use(chosen(tmp_path, paths[1]))
    with pytest.raises(InferenceError, match="unloaded"):
        first.count_tokens("one two")
    manager.get("llm")
    assert manager.get("tagger") is tagger
    assert manager.status().loads == 3
    assert manager.unload_all()


def test_several_big_models_stay(tmp_path: Path, paths: list[Path]) -> None:
    """With room for two, going back and forth loads nothing again; a third pushes out the one not used for longest."""
    manager = ModelManager(chosen(tmp_path, paths[0], max_loaded=2), has_work=lambda: True)

    def use(index: int) -> str:
        manager.use(chosen(tmp_path, paths[index], max_loaded=2))
        with manager.lease("llm") as lm:
            assert lm.count_tokens("one two")
            return str(lm.weights)

    first, second = use(0), use(1)
    assert first != second
    assert (use(0), use(1), use(0)) == (first, second, first)
    assert manager.status().loads == 2
    use(2)
    assert manager.status().loads == 3
    assert use(0) == first
    assert manager.status().loads == 3
    assert use(1) == second
    assert manager.status().loads == 4
    # Room for one alone: the other leaves at once, and what is read with next is the one that was chosen.
    manager.use(chosen(tmp_path, paths[1]))
    assert use(1) == second
    assert manager.status().loads == 4
    assert manager.unload_all()
    assert manager.status().state is ModelState.UNLOADED


def test_a_model_that_is_leased_stays_until_it_is_free(tmp_path: Path, paths: list[Path]) -> None:
    """Other settings take nothing away from who is reading, whatever may stay."""
    manager = ModelManager(chosen(tmp_path, paths[0], max_loaded=2), has_work=lambda: True)
    with manager.lease("llm") as lm:
        manager.use(chosen(tmp_path, paths[1]))
        assert lm.count_tokens("one two")
        with manager.lease("llm") as again:
            assert again is lm
    with manager.lease("llm") as other:
        assert other is not lm
    with pytest.raises(InferenceError, match="unloaded"):
        lm.count_tokens("one two")
    assert manager.unload_all()


def test_who_stayed_leaves_when_memory_is_short(tmp_path: Path, paths: list[Path]) -> None:
    """A model that fits alone is loaded, though there was room for two by number."""
    first, second = (chosen(tmp_path, path, max_loaded=2) for path in paths[:2])
    need = ModelLoader(second).need_bytes("llm")
    free = [need]
    manager = ModelManager(first, has_work=lambda: True, available_bytes=lambda: free.pop() if free else need)
    kept = manager.get("llm")
    manager.use(second)
    free[:] = [need - 1]
    manager.get("llm")
    with pytest.raises(InferenceError, match="unloaded"):
        kept.count_tokens("one two")
    free[:] = [need - 1]
    assert manager.unload_all()
    with pytest.raises(ModelTooLarge):
        manager.get("llm")
    assert manager.unload_all()

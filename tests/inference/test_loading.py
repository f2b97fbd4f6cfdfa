"""What is said of a model that does not fit: numbers, and what would."""

import re
from pathlib import Path

import pytest

from backend.errors import ModelTooLarge
from backend.inference.catalog import read_catalog
from backend.inference.loader import N_BATCH
from backend.inference.loading import ModelLoader, largest_listed
from backend.inference.memory import longest_context, need_bytes
from backend.settings import load_settings
from tests.gguf_factory import write_random_llm

GIB = 2**30


def named(advice: str) -> tuple[str, int, int]:
    """Name, MiB and tokens of context of an advice."""
    found = re.search(r"pull (\S+)'.* fits: ([\d,]+) MB with a context of ([\d,]+) tokens", advice)
    assert found, advice
    return found[1], int(found[2].replace(",", "")), int(found[3].replace(",", ""))


@pytest.mark.parametrize("n_ctx_tokens", [2048, 4096, 100_000])
@pytest.mark.parametrize("gib", [1.5, 3, 4, 16])
def test_the_largest_listed_model_that_fits(n_ctx_tokens: int, gib: float) -> None:
    """It fits by the loader's own sum, and no larger listed one does with an ordinary context."""
    available = int(gib * GIB)
    name, need_mib, n_tokens = named(largest_listed(n_ctx_tokens, available))
    listed = {entry.name: entry for entry in read_catalog() if entry.kind == "llm"}

    def need(entry_name: str, tokens: int) -> int:
        return need_bytes(listed[entry_name].header, n_ctx_tokens=tokens, n_batch=N_BATCH, writes_answers=True)

    assert need(name, n_tokens) <= available
    assert need_mib == round(need(name, n_tokens) / 2**20)
    ordinary = min(n_ctx_tokens, 4096)
    assert n_tokens >= ordinary
    larger = [entry.name for entry in listed.values() if entry.size_bytes > listed[name].size_bytes]
    assert all(need(other, ordinary) > available for other in larger)


def test_nothing_listed_fits() -> None:
    """Nothing is advised where nothing would do."""
    assert largest_listed(4096, 100 * 2**20) == ""


def test_a_malformed_catalogue_hides_no_reason(tmp_path: Path) -> None:
    """Who is refused for want of memory hears that, whatever the catalogue looks like."""
    broken = tmp_path / "catalog.toml"
    broken.write_text("[[model]]\nname = 5\n")
    assert largest_listed(4096, 64 * GIB, broken) == ""


def test_longest_context() -> None:
    """The one asked for where it fits, else the longest step below it, else none."""
    header = next(entry.header for entry in read_catalog() if entry.default)

    def need(n_tokens: int) -> int:
        return need_bytes(header, n_ctx_tokens=n_tokens, n_batch=N_BATCH, writes_answers=True)

    def longest(available: int) -> int:
        return longest_context(header, 5000, n_batch=N_BATCH, available_bytes=available)

    assert longest(need(5000)) == 5000
    assert longest(need(5000) - 1) == 4096
    assert longest(need(3072)) == 3072
    assert longest(need(2048)) == 2048
    assert longest(need(2048) - 1) == 0


def test_refused_with_what_would_fit(tmp_path: Path) -> None:
    """Need and free memory, the context with which the chosen file fits, and the largest listed model."""
    wide = write_random_llm(tmp_path / "wide.gguf", n_layers=48, n_embd=64, n_heads=1, n_heads_kv=1)
    settings = load_settings(home=tmp_path, llm_path=wide, n_ctx_tokens=262_144)
    need = ModelLoader(settings).need_bytes("llm")
    with pytest.raises(ModelTooLarge, match=r"wide\.gguf needs [\d,]+ MB and 2,048 MB are free") as refused:
        ModelLoader(settings, available_bytes=lambda: 2 * GIB).load("llm", lambda _: True)
    assert need > 2 * GIB
    assert named(str(refused.value))[1] <= 2048
    fitting = re.search(r"n_ctx_tokens = (\d+)", str(refused.value))
    assert fitting
    shorter = load_settings(home=tmp_path, llm_path=wide, n_ctx_tokens=int(fitting[1]), n_parallel=1)
    assert ModelLoader(shorter).need_bytes("llm") <= 2 * GIB
    assert "memory_override" in str(refused.value)

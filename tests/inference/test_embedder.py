"""The shipped embedding model, and others of random weights."""

from pathlib import Path

import numpy as np
import pytest

from backend.inference.embedder import Embedder
from backend.inference.loader import LoadedModel, load_model
from tests.gguf_factory import write_random_encoder


@pytest.fixture
def embedder(minilm: LoadedModel) -> Embedder:
    """The embedder over the shipped model."""
    return Embedder(minilm)


def test_likeness_follows_meaning(embedder: Embedder) -> None:
    """Two ways to say it are closer than two things said."""
    cat, kitten, money = embedder.embed(["The cat sat on the mat", "A kitten on the rug", "Revenue rose last quarter"])
    assert cat @ kitten > cat @ money + 0.3


def test_shape_length_and_order(embedder: Embedder) -> None:
    """One float32 row a text, of length 1, in order, whatever shares the batch."""
    texts = [f"entry number {index} about something" for index in range(40)]
    together = embedder.embed(texts)
    assert together.shape == (40, 384)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert together[7] @ embedder.embed([texts[7]])[0] > 0.999


def test_no_texts_and_blank_texts(embedder: Embedder) -> None:
    """Nothing in, nothing out; an empty text has a vector too."""
    assert embedder.embed([]).shape == (0, 384)
    assert np.isfinite(embedder.embed([""])).all()


def test_long_text_is_averaged_over_windows(embedder: Embedder) -> None:
    """What stands beyond the first window counts."""
    start = "The harbour was quiet this morning. " * 80
    with_end, without = embedder.embed([start + "We sold the company and the shares. " * 80, start])
    assert 0.3 < with_end @ without < 0.98


@pytest.mark.parametrize("n_ctx", [48, 128, 300])
def test_a_model_that_knows_few_positions(tmp_path: Path, n_ctx: int) -> None:
    """Long texts and many at once stay within them: beyond, llama.cpp ends the process."""
    path = write_random_encoder(tmp_path / "short.gguf", n_ctx=n_ctx)
    model = load_model(path, kind="embedding", n_ctx_tokens=512, n_threads=1)
    assert n_ctx - 16 < model.n_ctx_tokens <= n_ctx
    vectors = Embedder(model).embed(["The harbour was quiet this morning. " * 80, *["We sold the company."] * 40])
    model.close()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_the_end_of_a_text_is_the_tokenizers(tmp_path: Path) -> None:
    """Most files of BERT models do not say that an end is added, and it is: the same vectors as where they say so."""
    flags = tuple(f"tokenizer.ggml.add_{name}_token" for name in ("bos", "eos", "sep"))
    found = []
    for name, without in (("said", ()), ("unsaid", flags)):
        path = write_random_encoder(tmp_path / f"{name}.gguf", without=without)
        model = load_model(path, kind="embedding", n_ctx_tokens=512, n_threads=1)
        assert model.frame == ([101], [102])
        found.append(Embedder(model).embed(["The harbour was quiet."]))
        model.close()
    assert np.allclose(*found, atol=1e-6)

"""Ranking through llama.cpp's own head, of random weights."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from backend.errors import WeightsMissing, WeightsUnusable
from backend.inference.encoder import Encoder
from backend.inference.loader import LoadedModel, load_model
from backend.inference.manager import ModelManager
from backend.inference.reranker import Reranker
from backend.settings import EMBEDDING_PATH, Settings, load_settings
from tests.gguf_factory import write_random_encoder

DOCUMENTS = ["Sarah came by in the afternoon.", "The shares fell.", "", "We swam in the lake near Oslo."]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with a head of one output."""
    return write_random_encoder(tmp_path_factory.mktemp("rank") / "rank.gguf", labels=("relevant",))


@pytest.fixture(scope="module")
def ranking(path: Path) -> Iterator[LoadedModel]:
    """It, loaded."""
    model = load_model(path, kind="reranker", n_ctx_tokens=512, n_threads=1)
    yield model
    model.close()


def head_of(path: Path) -> dict[str, np.ndarray]:
    """The weights of the ranking head, as they lie in the file."""
    tensors = gguf.GGUFReader(path).tensors
    return {tensor.name: tensor.data.astype(np.float32) for tensor in tensors if tensor.name.startswith("cls.")}


def test_score_is_that_of_the_head(path: Path, ranking: LoadedModel) -> None:
    """The number is the file's own head over the state of the pair's first token, worked out here by hand."""
    plain = load_model(path, kind="tagger", n_ctx_tokens=512, n_threads=1)
    pair = [101, *plain.tokenize("Who came?"), 102, *plain.tokenize(DOCUMENTS[0]), 102]
    state = Encoder(plain).encode([pair], pooled=False)[0][0]
    plain.close()
    head = head_of(path)
    hidden = np.tanh(head["cls.weight"] @ state + head["cls.bias"])
    expected = float(head["cls.output.weight"][0] @ hidden + head["cls.output.bias"][0])
    assert Reranker(ranking).scores("Who came?", DOCUMENTS[:1]) == pytest.approx([expected], abs=0.02)
    assert abs(expected) > 0.05


def test_the_end_of_a_pair_is_the_tokenizers(ranking: LoadedModel, tmp_path: Path) -> None:
    """A file that does not say what is added ranks as one that does."""
    flags = tuple(f"tokenizer.ggml.add_{name}_token" for name in ("bos", "eos", "sep"))
    bare = write_random_encoder(tmp_path / "bare.gguf", labels=("relevant",), without=flags)
    model = load_model(bare, kind="reranker", n_ctx_tokens=512, n_threads=1)
    expected = Reranker(ranking).scores("Who came?", DOCUMENTS)
    assert Reranker(model).scores("Who came?", DOCUMENTS) == pytest.approx(expected, abs=1e-4)
    model.close()


def test_each_document_has_its_score(ranking: LoadedModel) -> None:
    """In order, whatever shares the batch; the query counts; nothing in, nothing out."""
    reranker = Reranker(ranking)
    together = reranker.scores("Who came?", DOCUMENTS * 10)
    alone = [reranker.scores("Who came?", [document])[0] for document in DOCUMENTS]
    assert together == pytest.approx(alone * 10, abs=0.02)
    assert len(set(alone)) == len(DOCUMENTS)
    assert reranker.scores("How was the lake?", DOCUMENTS) != pytest.approx(alone, abs=0.02)
    assert reranker.scores("Who came?", []) == []


def test_long_documents_and_queries(ranking: LoadedModel) -> None:
    """Of a document beyond the window the best part counts; a query as long as the window leaves room for it."""
    reranker = Reranker(ranking)
    parts = ["The harbour was quiet this morning. " * 60, "We sold the company and the shares. " * 60]
    size = reranker._room - len(ranking.tokenize("Quiet?"))
    whole = ranking.tokenize("".join(parts))
    windows = [ranking.detokenize(whole[start : start + size]) for start in range(0, len(whole), size)]
    assert len(windows) > 1
    best = max(reranker.scores("Quiet?", windows))
    assert reranker.scores("Quiet?", ["".join(parts)]) == pytest.approx([best], abs=0.05)
    assert np.isfinite(reranker.scores("quiet " * 2000, DOCUMENTS)).all()


def test_several_outputs(tmp_path: Path) -> None:
    """A head of three numbers is read as three: the first is the score, and nothing beyond is touched."""
    three = write_random_encoder(tmp_path / "three.gguf", labels=("yes", "no", "perhaps"))
    model = load_model(three, kind="reranker", n_ctx_tokens=512, n_threads=1)
    assert model.n_pooled == 3
    (outputs,) = Encoder(model).encode([[101, 2040, 102]], pooled=True)
    assert outputs.shape == (3,)
    assert len(set(outputs.tolist())) == 3
    assert len(Reranker(model).scores("Who?", DOCUMENTS)) == len(DOCUMENTS)
    model.close()


def test_kinds_are_told_apart(path: Path) -> None:
    """An encoder without such a head ranks nothing, and one with it makes no vectors."""
    with pytest.raises(WeightsUnusable, match="no head that ranks"):
        load_model(EMBEDDING_PATH, kind="reranker", n_ctx_tokens=512, n_threads=1)
    with pytest.raises(WeightsUnusable, match="ranks texts"):
        load_model(path, kind="embedding", n_ctx_tokens=512, n_threads=1)


def test_manager_loads_it_where_one_is_chosen(settings: Settings, path: Path, tmp_path: Path) -> None:
    """Without a choice the way to get one is in the message; with one it ranks, beside the small models."""
    with (
        pytest.raises(WeightsMissing, match="charlie models use"),
        ModelManager(settings, has_work=lambda: False).lease("reranker"),
    ):
        pass
    chosen = load_settings(home=tmp_path, reranker_path=path)
    manager = ModelManager(chosen, has_work=lambda: False)
    embedder = manager.get("embedding")
    with manager.lease("reranker") as reranker:
        assert len(reranker.scores("Who came?", DOCUMENTS)) == len(DOCUMENTS)
        assert manager.status().kind == "reranker"
    assert manager.get("embedding") is embedder
    assert manager.cleanup_if_no_work()
    assert manager.loaded() == {}


def test_another_embedding_model(tmp_path: Path) -> None:
    """The one that is chosen makes the vectors in the shipped one's place, in its own width, once tried in a child."""
    other = write_random_encoder(tmp_path / "other.gguf", n_embd=96)
    manager = ModelManager(load_settings(home=tmp_path, embedding_path=other), has_work=lambda: False)
    vectors = manager.get("embedding").embed(DOCUMENTS)
    assert vectors.shape == (len(DOCUMENTS), 96)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert "other" not in (tmp_path / "run" / "probes.json").read_text()
    assert manager.unload_all()

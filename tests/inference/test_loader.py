"""Loading: what works, what is refused and how."""

from pathlib import Path

import pytest

from backend.errors import InferenceError, Stopped, WeightsMissing, WeightsUnusable
from backend.inference import load_model
from backend.inference.gguf_header import read_header
from backend.inference.loader import Kind
from backend.settings import EMBEDDING_PATH, TAGGER_PATH
from tests.gguf_factory import VOCABULARY
from tests.gguf_file import vector, vocabulary_of, write_gguf


def refusal(path: Path, kind: Kind = "llm") -> str:
    """Why the file is refused."""
    with pytest.raises(WeightsUnusable) as caught:
        load_model(path, kind=kind, n_ctx_tokens=512, n_threads=1)
    return caught.value.reason


def test_missing_file_says_where(tmp_path: Path) -> None:
    """The path that was looked at and the way out are in the message."""
    with pytest.raises(WeightsMissing, match="charlie models use") as caught:
        load_model(tmp_path / "none.gguf", kind="llm", n_ctx_tokens=512, n_threads=1)
    assert caught.value.path == tmp_path / "none.gguf"


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b"# not a model\n" * 100, "not a GGUF"), (b"GGUF\x03\0\0", "truncated")]
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """Llama.cpp never sees a file that is empty or something else."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert words in refusal(path)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.999])
def test_truncated_model_is_refused(tmp_path: Path, part: float) -> None:
    """A download that stopped early is told from a whole file wherever it stopped."""
    data = TAGGER_PATH.read_bytes()
    path = tmp_path / "short.gguf"
    path.write_bytes(data[: int(len(data) * part)])
    assert "truncated" in refusal(path, "tagger")


def test_damaged_header_is_refused(tmp_path: Path) -> None:
    """Noise after the magic raises our error, whatever it decodes to."""
    path = tmp_path / "noise.gguf"
    path.write_bytes(TAGGER_PATH.read_bytes()[:64] + bytes(range(256)) * 400)
    with pytest.raises(WeightsUnusable):
        read_header(path)


def test_wrong_kind_is_refused(f16_path: Path) -> None:
    """An embedding model cannot answer, an instruct model cannot tag, a vocabulary can do neither."""
    assert "embedding model" in refusal(EMBEDDING_PATH)
    assert "no text encoder" in refusal(f16_path, "tagger")
    assert "no weights" in refusal(VOCABULARY)


@pytest.mark.parametrize(("pooling", "words"), [(3, "embedding model"), (4, "ranks texts")])
def test_what_pools_writes_no_answers(tmp_path: Path, pooling: int, words: str) -> None:
    """An embedding model or a reranker that is built as an instruct model is told from one."""
    values = {"general.architecture": "qwen3", "qwen3.pooling_type": pooling}
    path = write_gguf(tmp_path / "pools.gguf", values, vocabulary_of(VOCABULARY), [vector("output_norm", 64, 1.0)])
    assert words in refusal(path)


def test_progress_rises_and_can_stop(f16_path: Path) -> None:
    """Loading tells how far it is, and ends with Stopped when told to."""
    seen: list[float] = []

    def note(done: float) -> bool:
        seen.append(done)
        return True

    load_model(f16_path, kind="llm", n_ctx_tokens=512, n_threads=1, on_progress=note).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(Stopped):
        load_model(f16_path, kind="llm", n_ctx_tokens=512, n_threads=1, on_progress=lambda _done: False)


def test_tokens_come_back_as_text(f16_path: Path) -> None:
    """What is tokenised is the same text again, in any script; control tokens are read only when asked."""
    model = load_model(f16_path, kind="llm", n_ctx_tokens=512, n_threads=1)
    for text in ("Plain words.", "naïve 🎉 שלום ตัวอย่าง", ""):
        assert model.detokenize(model.tokenize(text)) == text
    assert len(model.tokenize("<|im_end|>", parse_special=True)) == 1
    assert len(model.tokenize("<|im_end|>")) > 1
    model.close()


def test_use_after_close_is_an_error(f16_path: Path) -> None:
    """After closing, twice even, every call raises ours; llama.cpp would take the process down."""
    model = load_model(f16_path, kind="llm", n_ctx_tokens=512, n_threads=1)
    model.close()
    model.close()
    with pytest.raises(InferenceError, match="unloaded"):
        model.tokenize("again")
    with pytest.raises(InferenceError, match="unloaded"):
        model.piece(1)


def test_loading_prints_nothing(f16_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing native reaches file descriptors 1 and 2: the screen is drawn there."""
    load_model(f16_path, kind="llm", n_ctx_tokens=512, n_threads=1).close()
    assert capfd.readouterr() == ("", "")

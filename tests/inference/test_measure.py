"""What a child finds out about llama.cpp and about a model's speed."""

from pathlib import Path

from backend.inference.loader import LoadSettings
from backend.inference.measure import measure_speed, native_features

WANTED = LoadSettings("llm", 4096, 1)


def test_native_features_are_told() -> None:
    """llama.cpp can be asked, and names something of every processor that it runs on."""
    found = native_features()
    assert found
    assert found.features
    assert all(name.strip() == name and name for name in found.features)


def test_speed_of_a_model(f16_path: Path) -> None:
    """Reading and writing take some time, and not for ever."""
    speed = measure_speed(f16_path, WANTED)
    assert speed
    assert speed.load_s > 0
    assert speed.prompt_tokens_s > 0
    assert speed.answer_tokens_s > 0


def test_what_cannot_be_measured_is_not_known(f16_path: Path, tmp_path: Path) -> None:
    """No model, a damaged one and one that takes too long have no speed; nothing is raised."""
    (tmp_path / "damaged.gguf").write_bytes(f16_path.read_bytes()[:100_000])
    assert measure_speed(tmp_path / "missing.gguf", WANTED) is None
    assert measure_speed(tmp_path / "damaged.gguf", WANTED) is None
    assert measure_speed(f16_path, WANTED, timeout_s=0.01) is None

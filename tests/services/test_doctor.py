"""What the doctor says about models: speed, what was switched off, what cannot be used."""

from pathlib import Path

from backend.inference.bindings import library_version
from backend.inference.loading import ModelLoader
from backend.inference.weights import quick_key, write_json
from backend.services.doctor import Check, examine
from backend.services.models import use_model
from backend.settings import Settings, load_settings
from tests.gguf_factory import write_random_encoder


def checks(settings: Settings) -> dict[str, Check]:
    """All of them, by name."""
    return {check.name: check for check in examine(settings)}


def test_active_model_with_its_speed(settings: Settings, llm_path: Path) -> None:
    """The model that reads decodes here, and how quick it is stands in tokens a second."""
    use_model(settings, str(llm_path))
    check = checks(load_settings(home=settings.home))["language model"]
    assert check.is_ok
    assert llm_path.name in check.detail
    assert "tokens a second" in check.detail
    need = ModelLoader(load_settings(home=settings.home)).need_bytes("llm") / 2**20
    assert f"needs {need:,.0f} MB to read 4 texts at a time" in check.detail


def test_chosen_reranker_and_embedding_model_are_looked_at(settings: Settings, tmp_path: Path) -> None:
    """Those that take the place of the shipped ones, or have none, are tried in a child too."""
    rank = write_random_encoder(tmp_path / "rank.gguf", labels=("relevant",))
    other = write_random_encoder(tmp_path / "other.gguf")
    found = checks(settings.model_copy(update={"reranker_path": rank, "embedding_path": other}))
    assert found["reranker"].detail.startswith("rank.gguf, ")
    assert "decodes here" in found["reranker"].detail
    assert found["embedding model"].detail.startswith("other.gguf, ")
    wrong = checks(settings.model_copy(update={"reranker_path": other}))["reranker"]
    assert (wrong.is_ok, "no head that ranks" in wrong.detail) == (False, True)


def test_every_installed_model_is_looked_at(settings: Settings, llm_path: Path) -> None:
    """One that could read has its speed; one that is damaged is a problem, with the reason."""
    settings.models_dir.mkdir(parents=True)
    (settings.models_dir / "good.gguf").symlink_to(llm_path)
    (settings.models_dir / "damaged.gguf").write_bytes(llm_path.read_bytes()[:10_000])
    found = checks(settings)
    assert found["good.gguf"].is_ok
    assert "tokens a second" in found["good.gguf"].detail
    assert not found["damaged.gguf"].is_ok
    assert "truncated" in found["damaged.gguf"].detail


def test_what_was_switched_off_is_said(settings: Settings, llm_path: Path) -> None:
    """Where a try in a child found the quick settings unsafe, the doctor says which and why."""
    use_model(settings, str(llm_path))
    chosen = load_settings(home=settings.home)
    key = "|".join(str(mark) for mark in (quick_key(llm_path), "llm", chosen.n_gpu_layers, True, library_version()))
    write_json(settings.run_dir / "probes.json", {key: {"use_extra_bufts": False, "n_gpu_layers": 0}})
    detail = checks(chosen)["language model"].detail
    assert "without repacked weights and the GPU: llama.cpp failed" in detail
    why = "llama.cpp crashed when it was tried (SIGSEGV)"
    write_json(settings.run_dir / "probes.json", {key: {"use_extra_bufts": False, "n_gpu_layers": 0, "why": why}})
    assert f"without repacked weights and the GPU: {why}" in checks(chosen)["language model"].detail
    assert "tokens a second" in detail


def test_prompt_that_reads_is_said(settings: Settings, llm_path: Path) -> None:
    """With a model of one's own, the doctor says which prompt it reads with and why; the tagger has none."""
    assert "prompt" not in checks(settings)
    use_model(settings, str(llm_path))
    check = checks(load_settings(home=settings.home))["prompt"]
    assert check.is_ok
    assert check.detail.startswith("plain: ")


def test_machine_is_described(settings: Settings) -> None:
    """Processor, threads, and what llama.cpp makes of them are there."""
    found = checks(settings)
    assert "cores" in found["machine"].detail
    assert found["processor"].detail
    assert "GPU" in found["llama.cpp"].detail


def test_server_is_named_and_not_asked(settings: Settings) -> None:
    """Where a server reads, the doctor says which; nothing here is loaded for it."""
    remote = settings.model_copy(update={"llm_url": "http://127.0.0.1:9/v1"})
    assert checks(remote)["language model"] == Check(
        "language model", True, "the server at http://127.0.0.1:9/v1 reads"
    )

"""Commands about reading, models and the machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.domain import ModelState, ModelStatus, Status
from frontend.cli.work import _doing
from tests.cli.conftest import Charlie, CharlieJson


def test_status_has_the_documented_fields(charlie_json: CharlieJson) -> None:
    """The snapshot's names are those of the README."""
    charlie_json("add", "Coffee with Sarah.")
    status = charlie_json("status")
    assert (status["journals"], status["pending"], status["dead"]) == ({"default": 1}, 1, 0)
    assert set(status) == {"journals", "pending", "dead", "model", "reader", "worker", "reading", "problem", "unsure"}
    model = status["model"]
    assert set(model) >= {"state", "name", "kind", "loads", "resident_mb", "context_tokens", "parallel"}
    # Nothing is in work.
    assert (model["prompt_progress"], model["answer_tokens"], model["tokens_per_s"]) == (None, 0, 0.0)
    assert model["seconds_left"] is None
    assert (status["model"]["state"], status["reader"], status["worker"]) == ("unloaded", "tagger", "nobody")


def test_drain_reads_what_waits(charlie: Charlie, charlie_json: CharlieJson) -> None:
    """Afterwards nothing is pending and every entry is done."""
    for name in ("Sarah", "Tom", "Ana"):
        charlie_json("add", f"Coffee with {name}.")
    report = charlie_json("work", "--drain")
    assert (report["read"], report["pending"], report["dead"], report["problem"]) == (3, 0, 0, "")
    assert {entry["status"] for entry in charlie_json("list")} == {"done"}


@pytest.mark.parametrize("worker", ["none", "process"])
def test_drain_reads_wherever_the_screen_would(
    charlie_json: CharlieJson, monkeypatch: pytest.MonkeyPatch, worker: str
) -> None:
    """With no worker for the screen, and with one in a child: what was read is told all the same."""
    charlie_json("add", "Coffee with Sarah.")
    monkeypatch.setenv("CHARLIE_WORKER", worker)
    report = charlie_json("work", "--drain")
    assert (report["read"], report["pending"], report["dead"], report["problem"]) == (1, 0, 0, "")


def test_drain_where_nothing_reads(
    charlie: Charlie, charlie_json: CharlieJson, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In immediate mode it says so in place of waiting for ever."""
    charlie_json("add", "Coffee with Sarah.")
    monkeypatch.setenv("CHARLIE_IMMEDIATE", "1")
    result = charlie("work", "--drain")
    assert result.exit_code == 1
    assert "CHARLIE_IMMEDIATE" in result.stderr


def test_the_bar_says_how_far_the_model_is() -> None:
    """What the worker has in work stands beside the bar, whoever works; a load has its own word."""
    busy = ModelStatus(ModelState.BUSY, "x.gguf", "llm", 1, 99.0, prompt_progress=1.0, answer_tokens=3, tokens_per_s=12)
    status = Status({"default": 1}, 1, 0, busy, "llm", worker="this process")
    assert _doing(status) == "Reading: 12 tokens/s"
    assert _doing(replace(status, worker="process 42")) == "Reading in process 42: 12 tokens/s"
    assert _doing(replace(status, model=replace(busy, prompt_progress=None))) == "Reading"
    assert _doing(replace(status, model=replace(busy, state=ModelState.LOADING))) == "Loading x.gguf"


def test_drain_of_nothing(charlie_json: CharlieJson) -> None:
    """With nothing to read it ends at once, well."""
    assert charlie_json("work", "--drain")["read"] == 0


def test_drain_says_why_reading_is_unavailable(
    charlie: Charlie, charlie_json: CharlieJson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a model that cannot be loaded it ends with status 1 and one line, and the entry still waits."""
    charlie_json("add", "Coffee with Sarah.")
    monkeypatch.setenv("CHARLIE_LLM_PATH", str(tmp_path / "missing.gguf"))
    result = charlie("work", "--drain")
    assert result.exit_code == 1
    assert "missing.gguf" in result.stderr
    assert charlie_json("status")["pending"] == 1


def test_models_list_has_the_shipped_ones(charlie_json: CharlieJson) -> None:
    """The two small models are there, and the tagger is in use."""
    models = {model["kind"]: model for model in charlie_json("models", "list")}
    assert set(models) >= {"tagger", "embedding"}
    assert models["tagger"]["active"]
    assert models["tagger"]["size_bytes"] > 1_000_000


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"not a model at all", b"GGUF\x03\0\0\0" + b"\xff" * 64], ids=range(4)
)
def test_models_use_refuses_what_is_no_model(charlie: Charlie, home: Path, tmp_path: Path, content: bytes) -> None:
    """A file that cannot be used is refused in one line, and the choice stays what it was."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    result = charlie("models", "use", str(path))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "model.gguf" in result.stderr
    assert not (home / "charlie.toml").exists()


def test_models_use_of_an_embedding_model(charlie: Charlie, charlie_json: CharlieJson) -> None:
    """It makes the vectors; who reads stays who it was."""
    result = charlie("models", "use", "models/all-MiniLM-L6-v2.q8_0.gguf")
    assert (result.exit_code, "makes the vectors" in result.stdout) == (0, True)
    assert charlie_json("status")["reader"] == "tagger"


def test_doctor_is_content_here(charlie_json: CharlieJson) -> None:
    """On a machine that runs the tests nothing is broken."""
    checks = {check["name"]: check for check in charlie_json("doctor")}
    assert {"python", "home", "disk", "database", "tagger", "language model", "worker"} <= set(checks)
    assert "redis 8" in checks["database"]["detail"]


def test_doctor_names_what_is_broken(charlie: Charlie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is missing and a folder others can read are problems, and the status is 1."""
    home = tmp_path / "open"
    (home / "drafts").mkdir(parents=True)
    (home / "drafts").chmod(0o755)
    monkeypatch.setenv("CHARLIE_HOME", str(home))
    monkeypatch.setenv("CHARLIE_LLM_PATH", str(tmp_path / "missing.gguf"))
    result = charlie("doctor")
    assert result.exit_code == 1
    assert "problem\tprivacy\t" in result.stdout
    assert "problem\tlanguage model\tno model file" in result.stdout


def test_doctor_without_a_home(charlie: Charlie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that cannot be made is a problem that is named."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CHARLIE_HOME", str(tmp_path / "file" / "home"))
    result = charlie("doctor")
    assert result.exit_code == 1
    assert "problem\thome\t" in result.stdout

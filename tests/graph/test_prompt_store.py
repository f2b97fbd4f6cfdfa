"""Compiled prompts: which model gets which, and what a damaged file does."""

import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from backend.errors import PromptInvalid
from backend.graph.prompt_store import (
    ADAPTER,
    Demonstration,
    Prompt,
    PromptProvenance,
    Scores,
    choose_prompt,
    plain_prompt,
    read_prompt,
    write_prompt,
)
from backend.graph.signatures import NamedThing, schema_hash

WEIGHTS = "0123456789abcdef"


def provenance(**changes: Any) -> PromptProvenance:
    """That of a prompt that fits this program and `WEIGHTS`."""
    fields: dict[str, Any] = {
        "dspy": version("dspy"),
        "adapter": ADAPTER,
        "schema_hash": schema_hash(),
        "student_weights": WEIGHTS,
        "student": "small",
        "teacher_weights": WEIGHTS,
        "teacher": "small",
        "optimizer": "bootstrap",
        "budget": 10,
        "seed": 0,
        "date": "2026-01-02T03:04:05+00:00",
        "gold_hash": "fedcba9876543210",
        "before": Scores(metric=0.25, typed_f1=0.2, n_entries=3),
        "after": Scores(metric=0.5, typed_f1=0.4, n_entries=3),
    }
    return PromptProvenance(**{**fields, **changes})


def compiled(**changes: Any) -> Prompt:
    """A prompt with a demonstration."""
    demo = Demonstration(
        written_on="Friday, 2024-03-01", entry="Saw Mum.", entities=(NamedThing(surface="Mum", type="Person"),)
    )
    return Prompt(instructions="Find names.", demos=(demo,), provenance=provenance(**changes))


def test_comes_back_as_written(tmp_path: Path) -> None:
    """What is written is read again, whole; others may read the file unless it is private; nothing lies beside it."""
    path = tmp_path / "new" / "extract_nodes.json"
    write_prompt(path, compiled(), is_private=False)
    assert read_prompt(path) == compiled()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644
    write_prompt(path, compiled(), is_private=True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_plain_without_a_file(tmp_path: Path) -> None:
    """Nobody has compiled a prompt: the signature's own words."""
    choice = choose_prompt(WEIGHTS, tmp_path)
    assert (choice.prompt, choice.is_compiled) == (plain_prompt(), False)
    assert choice.reason == "plain: none has been compiled"


def test_compiled_for_the_same_model(tmp_path: Path) -> None:
    """Everything fits: the compiled prompt, with where it comes from."""
    write_prompt(tmp_path / "extract_nodes.json", compiled(), is_private=False)
    choice = choose_prompt(WEIGHTS, tmp_path)
    assert choice.prompt == compiled()
    assert choice.reason == "compiled: bootstrap for small on 2026-01-02, 0.250 to 0.500"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"student_weights": "another"}, "compiled one is for small"),
        ({"schema_hash": "0" * 16}, "another form of answers"),
        ({"adapter": "XMLAdapter"}, "for XMLAdapter, and JSONAdapter is used"),
        ({"dspy": "3.3.9"}, "for DSPy 3.3.9, and this is"),
    ],
)
def test_misfit_falls_back(
    tmp_path: Path, changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A prompt of another model, form, adapter or DSPy is not used; the log and the choice say which."""
    write_prompt(tmp_path / "extract_nodes.json", compiled(**changes), is_private=False)
    with caplog.at_level(logging.WARNING):
        choice = choose_prompt(WEIGHTS, tmp_path)
    assert choice.prompt == plain_prompt()
    assert choice.reason.startswith("plain: ")
    assert reason in choice.reason
    assert reason in caplog.text


def test_patch_version_of_dspy_fits(tmp_path: Path) -> None:
    """Of DSPy's version the first two numbers count."""
    major, minor = version("dspy").split(".")[:2]
    write_prompt(tmp_path / "extract_nodes.json", compiled(dspy=f"{major}.{minor}.99"), is_private=False)
    assert choose_prompt(WEIGHTS, tmp_path).is_compiled


def test_without_provenance_is_not_used(tmp_path: Path) -> None:
    """A prompt that does not say what it was made with fits nobody."""
    write_prompt(tmp_path / "extract_nodes.json", Prompt(instructions="Find names."), is_private=False)
    assert "does not say what it was made with" in choose_prompt(WEIGHTS, tmp_path).reason


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"[]", "object"),
        (b"\xff\xfe", "Invalid JSON"),
        (b'{"instructions": ""}', "instructions"),
        (b'{"instructions": "x", "demos": [{"entry": "SECRET"}]}', "demos.0.written_on"),
        (b'{"instructions": "x", "colour": "SECRET"}', "colour"),
    ],
)
def test_malformed_file_is_one_line(
    tmp_path: Path, content: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged file is said in one line that quotes nothing of it, and the plain prompt is used."""
    path = tmp_path / "extract_nodes.json"
    path.write_bytes(content)
    with pytest.raises(PromptInvalid) as caught:
        read_prompt(path)
    with caplog.at_level(logging.WARNING):
        choice = choose_prompt(WEIGHTS, tmp_path)
    assert choice.prompt == plain_prompt()
    assert problem in choice.reason
    assert "\n" not in str(caught.value)
    assert "SECRET" not in choice.reason + caplog.text


def test_new_file_counts_at_once_and_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A reader is made for every entry: the log hears of a prompt once, and again when the file changes."""
    path = tmp_path / "extract_nodes.json"
    with caplog.at_level(logging.INFO):
        write_prompt(path, compiled(), is_private=False)
        for _ in range(3):
            assert choose_prompt(WEIGHTS, tmp_path).is_compiled
        assert len(caplog.records) == 1
        path.write_text(json.dumps({"instructions": "Find names."}))
        assert not choose_prompt(WEIGHTS, tmp_path).is_compiled
    assert len(caplog.records) == 2


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Where the new prompt cannot be written, the old one stays and nothing half-written lies about."""
    path = tmp_path / "extract_nodes.json"
    write_prompt(path, compiled(), is_private=False)
    broken = compiled().model_copy(update={"instructions": "\ud800"})
    with pytest.raises(UnicodeEncodeError):
        write_prompt(path, broken, is_private=False)
    assert read_prompt(path) == compiled()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]

"""The reader over an instruct model: which prompt it reads with, and what that changes."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from backend.graph.llm_reader import LlmReader, prompt_hash
from backend.graph.prompt_store import Demonstration, Prompt, plain_prompt, write_prompt
from backend.graph.signatures import NamedThing
from tests.graph.test_prompt_store import WEIGHTS, compiled, provenance

DAY = datetime(2024, 3, 1, tzinfo=UTC)


class Listener(DummyLM):  # type: ignore[misc] # dspy ships no types
    """Keeps what it is asked, and finds Mum."""

    max_answer_tokens = 512

    def __init__(self, n_ctx_tokens: int = 4096) -> None:
        super().__init__([], follow_examples=True, adapter=dspy.JSONAdapter())
        self.n_ctx_tokens = n_ctx_tokens
        self.asked: list[dict[str, Any]] = []

    def _use_example(self, messages: list[dict[str, Any]]) -> str:
        self.asked = messages
        return '{"entities": [{"surface": "Mum", "type": "Person"}]}'

    def count_tokens(self, text: str) -> int:
        """About."""
        return len(text) // 4


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A folder with a compiled prompt for `WEIGHTS`."""
    write_prompt(tmp_path / "extract_nodes.json", compiled(), is_private=False)
    return tmp_path


def test_reads_with_the_compiled_prompt(prompts: Path) -> None:
    """Its instructions and its demonstration are what the model is told, before the entry."""
    lm = Listener()
    reader = LlmReader(lm, WEIGHTS, prompts=prompts)
    (mum,) = reader.read("Called Mum.", DAY, stopping=lambda: False).entities
    assert (mum.name, mum.spans[0].start) == ("Mum", 7)
    assert [message["role"] for message in lm.asked] == ["system", "user", "assistant", "user"]
    assert "Find names." in lm.asked[0]["content"]
    assert "Saw Mum." in lm.asked[1]["content"]
    assert "Called Mum." in lm.asked[3]["content"]


def test_other_model_reads_with_the_plain_one(prompts: Path) -> None:
    """Another model is told the signature's own words, and the reader says why."""
    lm = Listener()
    reader = LlmReader(lm, "other", prompts=prompts)
    reader.read("Called Mum.", DAY, stopping=lambda: False)
    assert len(lm.asked) == 2
    assert plain_prompt().instructions.splitlines()[0] in lm.asked[0]["content"]
    assert "another model reads" in reader.prompt.reason


def test_prompt_is_part_of_the_provenance(prompts: Path) -> None:
    """A reading tells by which prompt it was made: instructions and demonstrations count, provenance does not."""
    plain, made = LlmReader(Listener(), "other", prompts=prompts), LlmReader(Listener(), WEIGHTS, prompts=prompts)
    assert plain.provenance.prompt == prompt_hash() == prompt_hash(plain_prompt())
    assert made.provenance.prompt == prompt_hash(compiled()) != prompt_hash()
    assert prompt_hash(compiled()) == prompt_hash(compiled(date="2027-01-01T00:00:00+00:00"))
    assert prompt_hash(compiled()) != prompt_hash(compiled().model_copy(update={"demos": ()}))


def test_demonstrations_take_room(prompts: Path) -> None:
    """What the demonstrations take of the context is not there for the entry."""
    plain, made = LlmReader(Listener(), "other", prompts=prompts), LlmReader(Listener(), WEIGHTS, prompts=prompts)
    lm = Listener()
    demo = lm.count_tokens(compiled().demos[0].entry)
    # The plain instructions are longer than those of this prompt.
    longer = lm.count_tokens(plain_prompt().instructions) - lm.count_tokens(compiled().instructions)
    assert made.limit.n_tokens < plain.limit.n_tokens + longer - demo
    assert made.limit.n_tokens >= 512


def test_too_long_for_the_context_falls_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A prompt that leaves an entry next to nothing of this context is not used, and the log says so."""
    demo = Demonstration(
        written_on="Friday", entry="Saw Mum. " * 1000, entities=(NamedThing(surface="Mum", type="Person"),)
    )
    long = Prompt(instructions="Find names.", demos=(demo,), provenance=provenance())
    write_prompt(tmp_path / "extract_nodes.json", long, is_private=False)
    with caplog.at_level(logging.WARNING):
        reader = LlmReader(Listener(n_ctx_tokens=2048), WEIGHTS, prompts=tmp_path)
    assert reader.prompt.prompt == plain_prompt()
    assert reader.provenance.prompt == prompt_hash()
    assert "too little of the context" in reader.prompt.reason
    assert LlmReader(Listener(n_ctx_tokens=16_384), WEIGHTS, prompts=tmp_path).prompt.is_compiled

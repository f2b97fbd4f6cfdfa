"""DSPy over the engine: typed answers, no traces."""

import json
import warnings
from typing import Annotated, Literal

import dspy
import pytest
from pydantic import BaseModel, ConfigDict, Field

from backend.errors import AnswerUnreadable, ContextOverflow, ReadingUnavailable, Stopped
from backend.inference import DspyLM
from backend.inference.dspy_lm import quiet_dspy
from backend.inference.engine import Engine
from backend.inference.loader import LoadedModel

MARKER = "xylophonist"


class Thing(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")

    surface: Annotated[str, Field(min_length=1, max_length=6)]
    type: Literal["Person", "Place"]


class Things(BaseModel):
    """A list with its bounds inside, where DSPy leaves them alone."""

    model_config = ConfigDict(extra="forbid")

    found: Annotated[list[Thing], Field(min_length=1, max_length=2)]


class Find(dspy.Signature):  # type: ignore[misc] # dspy ships no types
    """Find what is named."""

    entry: str = dspy.InputField()
    things: Things = dspy.OutputField()


@pytest.fixture
def lm(engine: Engine) -> DspyLM:
    """The language model over the random one."""
    quiet_dspy()
    return DspyLM.from_engine(engine, "random", max_answer_tokens=300, weights="0123456789abcdef")


def predict(lm: DspyLM, entry: str, **options: object) -> list[Thing]:
    """The signature's answer."""
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        answer = dspy.Predict(Find)(entry=entry, config=options)
    things: list[Thing] = answer.things.found
    return things


def test_answers_are_typed(lm: DspyLM) -> None:
    """JSONAdapter's schema reaches the decoder: random weights give a valid typed answer, and nothing warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        things = predict(lm, f"Met a {MARKER}.")
    assert 1 <= len(things) <= 2
    assert all(isinstance(thing, Thing) for thing in things)


def test_cut_off_answer_is_ours(lm: DspyLM) -> None:
    """A cut-off answer is an error, not mended JSON; it comes as ours, without text."""
    with pytest.raises(AnswerUnreadable):
        predict(lm, "Sarah", max_tokens=8)


def test_overflow_is_ours(lm: DspyLM) -> None:
    """A prompt too long comes as ContextOverflow with its numbers."""
    with pytest.raises(ContextOverflow, match="8192") as caught:
        predict(lm, f"{MARKER} " * 9000)
    assert MARKER not in str(caught.value)


def test_stopped_is_ours(fresh_llm: LoadedModel) -> None:
    """A cancelled call ends as Stopped, which the task understands."""
    lm = DspyLM.from_engine(Engine(fresh_llm, stopping=lambda: True), "random", max_answer_tokens=50)
    with pytest.raises(Stopped):
        predict(lm, "Sarah")


def test_nothing_is_kept(lm: DspyLM) -> None:
    """No history on the model or globally, and no cache: prompts are journal text."""
    from dspy.clients import base_lm

    predict(lm, MARKER)
    assert lm.history == []
    assert MARKER not in repr(base_lm.GLOBAL_HISTORY)
    assert lm.cache is False
    assert lm.num_retries == 0


def test_counts_and_limits(lm: DspyLM, engine: Engine) -> None:
    """What the reader plans with."""
    assert lm.count_tokens("one two three") == engine.count_tokens("one two three") == 3
    assert lm.n_ctx_tokens == 8192
    assert lm.max_answer_tokens == 300
    assert lm.weights == "0123456789abcdef"
    assert DspyLM.from_engine(engine, "random", max_answer_tokens=100_000).max_answer_tokens == 4096


def test_saved_program_names_the_model(lm: DspyLM) -> None:
    """State goes to JSON and back; what comes back says that it needs a model."""
    state = lm.dump_state()
    assert state["model"] == "charlie/random"
    loaded = dspy.BaseLM.load_state(json.loads(json.dumps(state)), allow_custom_lm_class=True)
    assert isinstance(loaded, DspyLM)
    assert loaded.weights == lm.weights
    with pytest.raises(ReadingUnavailable, match="random"):
        loaded.count_tokens("x")


def test_evaluate_from_many_threads(lm: DspyLM) -> None:
    """Four threads of DSPy's own evaluation decode through one model."""
    examples = [dspy.Example(entry=f"entry {index}").with_inputs("entry") for index in range(6)]
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter(), disable_history=True):
        result = dspy.Evaluate(devset=examples, metric=lambda _gold, found: len(found.things.found) > 0, num_threads=4)(
            dspy.Predict(Find)
        )
    assert result.score == 100.0

"""The reader over an instruct model: one DSPy call a piece, every name looked up in the text."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol

import dspy

from backend.domain import EntityType, FoundEntity, Provenance, ReaderKind, Reading, Span
from backend.errors import AnswerUnreadable, Stopped
from backend.graph.signatures import FindEntities, NamedThing
from backend.graph.split import TextLimit

_RETRY_TEMPERATURE = 0.7


class LanguageModel(Protocol):
    """What the reader needs of a DSPy language model."""

    # Context window and the longest answer, tokens.
    n_ctx_tokens: int
    max_answer_tokens: int

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        ...


class LlmReader:
    """Reads with an instruct model; `weights` tells which (see `Provenance`)."""

    # The model is asked for names, not for how sure it is.
    CONFIDENCE = 1.0

    def __init__(self, lm: LanguageModel, weights: str, *, n_failed: int = 0) -> None:
        """After `n_failed` tries answers are sampled, each time anew: the likeliest one would be the same again."""
        self._lm = lm
        self._adapter = dspy.JSONAdapter()
        sampling = {"temperature": _RETRY_TEMPERATURE, "seed": n_failed} if n_failed else {}
        self._predict = dspy.Predict(FindEntities, **sampling)
        self.provenance = Provenance(ReaderKind.LLM, weights, prompt_hash())

    @property
    def limit(self) -> TextLimit:
        """What is left of the context for the entry once instructions and answer have their room."""
        some_day = _day(datetime(2000, 1, 1, tzinfo=UTC))
        instructions = self._adapter.format(FindEntities, [], {"written_on": some_day, "entry": ""})
        # Each message is wrapped by the model's template: a dozen tokens at the most in those that are listed.
        n_fixed = sum(self._lm.count_tokens(str(message["content"])) + 16 for message in instructions)
        n_tokens = self._lm.n_ctx_tokens - self._lm.max_answer_tokens - n_fixed
        return TextLimit(max(64, n_tokens), self._lm.count_tokens)

    def read(self, text: str, reference_time: datetime, *, stopping: Callable[[], bool]) -> Reading:
        """What the model finds in the text; a name that does not stand there has no spans (`verify` drops it).

        Raises:
            Stopped: shutdown began.
            AnswerUnreadable: the answer does not validate, or ended at the token limit.
        """
        if stopping():
            raise Stopped
        with dspy.context(lm=self._lm, adapter=self._adapter, disable_history=True):
            try:
                answer = self._predict(written_on=_day(reference_time), entry=text)
            except dspy.utils.exceptions.AdapterParseError as error:
                # It quotes the answer, which quotes the entry.
                raise AnswerUnreadable(len(error.lm_response or ""), "does not fit its schema") from None
        return Reading(tuple(_found(thing, text) for thing in answer.entities), self.provenance)


def prompt_hash() -> str:
    """What the reader is told and how it may answer, as 16 hex digits of SHA-256."""
    told = json.dumps([FindEntities.instructions, NamedThing.model_json_schema()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _found(thing: NamedThing, text: str) -> FoundEntity:
    places = _places(thing.surface, text)
    spans = tuple(Span(start, end, text[start:end], LlmReader.CONFIDENCE) for start, end in places)
    return FoundEntity(thing.surface, EntityType(thing.type), spans)


def _places(surface: str, text: str) -> Iterator[tuple[int, int]]:
    stripped = surface.strip()
    if stripped:
        # Whole words only: "Al" is not in "Also". Scripts without spaces have no word boundary to ask for.
        before = r"(?<!\w)" if stripped[0].isascii() and stripped[0].isalnum() else ""
        after = r"(?!\w)" if stripped[-1].isascii() and stripped[-1].isalnum() else ""
        for match in re.finditer(before + re.escape(stripped) + after, text):
            yield match.span()


def _day(moment: datetime) -> str:
    return f"{moment:%A}, {moment.date().isoformat()}"

"""The reader over an instruct model: one DSPy call a piece, every name looked up in the text."""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import dspy

from backend.domain import EntityType, FoundEntity, Provenance, ReaderKind, Reading, Span
from backend.errors import AnswerUnreadable, Stopped
from backend.graph.prompt_store import PROMPTS, Prompt, PromptChoice, choose_prompt, plain_prompt
from backend.graph.signatures import FindEntities, NamedThing
from backend.graph.split import TextLimit

_log = logging.getLogger(__name__)
_RETRY_TEMPERATURE = 0.7
# A compiled prompt leaves an entry at least so much of the context: shorter pieces lose who "she" is.
LEAST_TEXT_TOKENS: Final = 512


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

    def __init__(self, lm: LanguageModel, weights: str, *, n_failed: int = 0, prompts: Path = PROMPTS) -> None:
        """Reads with the compiled prompt in the folder `prompts` where that fits the model, else with the plain one.

        After `n_failed` tries answers are sampled, each time anew: the likeliest one would be the same again.
        """
        self._lm = lm
        self._adapter = dspy.JSONAdapter()
        choice = choose_prompt(weights, prompts)
        if choice.is_compiled and self._text_tokens(choice.prompt) < LEAST_TEXT_TOKENS:
            choice = PromptChoice(plain_prompt(), "plain: the compiled one leaves too little of the context")
            _tell_once(choice.reason)
        # Which prompt reads, and why.
        self.prompt = choice
        sampling = {"temperature": _RETRY_TEMPERATURE, "seed": n_failed} if n_failed else {}
        signature, demos = program_parts(choice.prompt)
        self._predict = dspy.Predict(signature, **sampling)
        self._predict.demos = demos
        self.provenance = Provenance(ReaderKind.LLM, weights, prompt_hash(choice.prompt))

    @property
    def limit(self) -> TextLimit:
        """What is left of the context for the entry once instructions and answer have their room."""
        return TextLimit(max(64, self._text_tokens(self.prompt.prompt)), self._lm.count_tokens)

    def _text_tokens(self, prompt: Prompt) -> int:
        return text_tokens(self._lm, self._adapter, *program_parts(prompt))

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
                answer = self._predict(written_on=written_on(reference_time), entry=text)
            except dspy.utils.exceptions.AdapterParseError as error:
                # It quotes the answer, which quotes the entry.
                raise AnswerUnreadable(len(error.lm_response or ""), "does not fit its schema") from None
        return Reading(tuple(found_in(thing, text) for thing in answer.entities), self.provenance)


@cache
def _tell_once(reason: str) -> None:
    """A reader is made for every entry; the log need not hear of each."""
    _log.warning("the prompt for entities is %s", reason)


def program_parts(prompt: Prompt) -> tuple[Any, list[Any]]:
    """The signature and the demonstrations, as `dspy.Predict` takes them."""
    demos = [dspy.Example(written_on=d.written_on, entry=d.entry, entities=list(d.entities)) for d in prompt.demos]
    return FindEntities.with_instructions(prompt.instructions), demos


def text_tokens(lm: LanguageModel, adapter: Any, signature: Any, demos: list[Any]) -> int:
    """Tokens of the context that an entry may have; less than 0 where not even the fixed part fits."""
    fixed = adapter.format(signature, demos, {"written_on": written_on(datetime(2000, 1, 1, tzinfo=UTC)), "entry": ""})
    # Each message is wrapped by the model's template: a dozen tokens at the most in those that are listed.
    n_fixed = lm.count_tokens("\n".join(str(message["content"]) for message in fixed)) + 16 * len(fixed)
    return lm.n_ctx_tokens - lm.max_answer_tokens - n_fixed


def prompt_hash(prompt: Prompt | None = None) -> str:
    """What the reader is told and how it may answer, as 16 hex digits of SHA-256; of the plain prompt without one."""
    chosen = prompt or plain_prompt()
    told = [chosen.instructions, NamedThing.model_json_schema(), *(d.model_dump() for d in chosen.demos)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def found_in(thing: NamedThing, text: str) -> FoundEntity:
    """The entity with every place of its surface in the text; none where it is made up."""
    places = _places(thing.surface, text)
    spans = tuple(Span(start, end, text[start:end], LlmReader.CONFIDENCE) for start, end in places)
    return FoundEntity(thing.surface, EntityType(thing.type), spans)


def written_on(moment: datetime) -> str:
    """The day of an entry as the model is told it."""
    return f"{moment:%A}, {moment.date().isoformat()}"


def _places(surface: str, text: str) -> Iterator[tuple[int, int]]:
    stripped = surface.strip()
    if stripped:
        # Whole words only: "Al" is not in "Also". Scripts without spaces have no word boundary to ask for.
        before = r"(?<!\w)" if stripped[0].isascii() and stripped[0].isalnum() else ""
        after = r"(?!\w)" if stripped[-1].isascii() and stripped[-1].isalnum() else ""
        for match in re.finditer(before + re.escape(stripped) + after, text):
            yield match.span()

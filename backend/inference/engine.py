"""Decodes: a prompt in, a finished answer out, inside a schema where one is given.

Callers may be many; one at a time is inside llama.cpp, by the model's lock (a context has no thread of its own, so a
lock is enough as long as one answer is decoded at a time). All state of a sequence is in `_Sequence`, and every call
goes through `llama_batch`: several answers at once are several sequences in the same loop.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backend.errors import AnswerUnreadable, ContextOverflow, InferenceError, ReadingFailed, Stopped
from backend.inference.batch import TokenBatch
from backend.inference.bindings import bindings
from backend.inference.chat import ChatMessage, ChatTemplate
from backend.inference.constraint import Constraint, ConstraintMaker
from backend.inference.loader import N_BATCH, LoadedModel

# How often somebody who waits for the model looks whether they should stop, seconds.
_LOOK_EVERY_S: Final = 0.1
# What llama_decode returns when the abort callback said so.
_ABORTED: Final = 2

type Prompt = Sequence[int] | Sequence[ChatMessage]
type Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer that came to its end."""

    text: str
    # Tokens of the prompt, how many of them had been read before, and of the answer.
    n_prompt: int
    n_reused: int
    n_generated: int
    # "stop": the model or the schema ended it. An answer cut off by a limit is an error, never a value.
    finish_reason: str


@dataclass(slots=True)
class _Sequence:
    """What one sequence of the context holds."""

    number: int
    # Tokens that llama.cpp has read, in order.
    tokens: list[int] = field(default_factory=list)


class Engine:
    """The instruct model; every method may be called from any thread."""

    def __init__(self, model: LoadedModel, *, stopping: Callable[[], bool] = lambda: False) -> None:
        """`stopping` ends every call with Stopped while it says True, as does the one given to a call.

        Raises InferenceError when `model` has an engine: two would not know what the other left in its memory.
        """
        if model.callbacks:
            raise InferenceError("this model has an engine")
        self._model = model
        self._stopping = stopping
        self._stopping_this = stopping
        self._template = ChatTemplate(model)
        self._maker: ConstraintMaker | None = None
        self._batch = TokenBatch(N_BATCH)
        self._sequence = _Sequence(0)
        api = bindings()
        callback = api.ggml_abort_callback(lambda _data: self._stopping_this())
        model.callbacks.append(callback)
        api.llama_set_abort_callback(model.context, callback, None)

    @property
    def n_ctx_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._model.n_ctx_tokens

    @property
    def is_closed(self) -> bool:
        """Whether the model has been unloaded."""
        return self._model.is_closed

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without what a template puts round it."""
        return len(self._model.tokenize(text))

    def count_prompt(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of a conversation as the model would read it."""
        return len(self._template.tokens(messages))

    def complete(
        self,
        prompt: Prompt,
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        stopping: Callable[[], bool] | None = None,
    ) -> Completion:
        """The model's answer to a conversation, or to a prompt that is tokens already.

        The best token at each step when `temperature` is 0, else one drawn by `seed`. With a `schema` the answer is
        JSON that satisfies it, as far as JSON schemas are understood; ranges of numbers are for the caller to check.

        Raises:
            ContextOverflow: prompt and `max_tokens` do not fit the context; nothing was decoded.
            AnswerUnreadable: `max_tokens` were written and the answer had not ended.
            ReadingFailed: llama.cpp could not decode.
            InferenceError: the schema cannot be compiled, or the model has been unloaded.
            Stopped: `stopping` said so; the model is usable afterwards.
        """
        with self._turn(stopping):
            tokens = self._prompt_tokens(prompt)
            if len(tokens) + max_tokens > self.n_ctx_tokens:
                raise ContextOverflow(len(tokens) + max_tokens, self.n_ctx_tokens)
            constraint = self._constraint(schema)
            try:
                n_reused = self._read(tokens)
                pieces = self._write(max_tokens, constraint, _Chooser(temperature, seed))
            except (Stopped, InferenceError):
                self._forget_after(len(self._sequence.tokens))
                raise
        text = b"".join(pieces).decode("utf-8", "replace")
        return Completion(text, len(tokens), n_reused, len(pieces), "stop")

    def try_out(self, tokens: Sequence[int], *, n_more: int) -> None:
        """Read `tokens` and decode `n_more`, whatever they say: the library is tried with many and with one."""
        with self._turn(None):
            self._read(list(tokens))
            for _ in range(n_more):
                self._decode([int(self._logits().argmax())])

    @contextmanager
    def _turn(self, stopping: Callable[[], bool] | None) -> Iterator[None]:
        def stops() -> bool:
            return self._stopping() or (stopping is not None and stopping())

        while not self._model.lock.acquire(timeout=_LOOK_EVERY_S):
            if stops():
                raise Stopped
        try:
            self._stopping_this = stops
            yield
        finally:
            self._stopping_this = self._stopping
            self._model.lock.release()

    def _prompt_tokens(self, prompt: Prompt) -> list[int]:
        if prompt and isinstance(prompt[0], ChatMessage):
            return self._template.tokens(prompt)  # type: ignore[arg-type] # all of one kind
        if not prompt:
            raise InferenceError("a prompt needs at least one token")
        return list(prompt)  # type: ignore[arg-type] # all of one kind

    def _constraint(self, schema: dict[str, Any] | None) -> Constraint | None:
        if schema is None:
            return None
        if self._maker is None:
            self._maker = ConstraintMaker(self._model)
        return self._maker.constraint(schema)

    def _read(self, tokens: list[int]) -> int:
        """Bring the sequence to hold `tokens`; the number of those it held before."""
        n_same = _common(self._sequence.tokens, tokens[:-1])
        n_kept = self._forget_after(n_same)
        for start in range(n_kept, len(tokens), N_BATCH):
            self._decode(tokens[start : start + N_BATCH])
        return n_kept

    def _write(self, max_tokens: int, constraint: Constraint | None, chooser: "_Chooser") -> list[bytes]:
        """Pieces of the answer, one a token."""
        pieces: list[bytes] = []
        while len(pieces) < max_tokens:
            token = chooser.choose(self._logits(), constraint)
            if self._model.ends_answer(token):
                return pieces
            pieces.append(self._model.piece(token))
            if constraint is not None:
                constraint.accept(token)
                if constraint.is_finished:
                    return pieces
            self._decode([token])
        n_chars = sum(len(piece) for piece in pieces)
        raise AnswerUnreadable(n_chars, f"reached its limit of {max_tokens} tokens before it ended")

    def _decode(self, tokens: list[int]) -> None:
        if self._stopping_this():
            raise Stopped
        held = self._sequence.tokens
        self._batch.clear()
        self._batch.add(tokens, position=len(held), sequence=self._sequence.number)
        status = bindings().llama_decode(self._model.context, self._batch.struct)
        if status == _ABORTED:
            raise Stopped
        if status != 0:
            raise ReadingFailed(f"llama.cpp could not decode {len(tokens)} tokens (status {status})")
        held.extend(tokens)

    def _forget_after(self, n_kept: int) -> int:
        """Cut the sequence to its first `n_kept` tokens, or empty it where this model's memory cannot be cut."""
        api = bindings()
        memory = api.llama_get_memory(self._model.context)
        number = self._sequence.number
        if not api.llama_memory_seq_rm(memory, number, n_kept, -1):
            api.llama_memory_seq_rm(memory, number, -1, -1)
            n_kept = 0
        del self._sequence.tokens[n_kept:]
        return n_kept

    def _logits(self) -> Logits:
        """What the last token makes likely; a view that the next decode overwrites."""
        pointer = bindings().llama_get_logits_ith(self._model.context, -1)
        if not pointer:
            raise ReadingFailed("llama.cpp gave no answer")
        return np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab,))


class _Chooser:
    """Picks tokens: the best, or drawn in proportion to likelihood at a temperature."""

    def __init__(self, temperature: float, seed: int) -> None:
        self._temperature = temperature
        self._random = np.random.default_rng(seed) if temperature > 0 else None

    def choose(self, logits: Logits, constraint: Constraint | None) -> int:
        """A token that `constraint` allows.

        To draw again among the allowed ones after a refusal gives each its share, as drawing among them at once would.
        """
        token = self._pick(logits)
        if constraint is None or constraint.allows(token):
            return token
        return self._pick(np.where(constraint.mask(), logits, -np.inf))

    def _pick(self, logits: Logits) -> int:
        if self._random is None:
            return int(logits.argmax())
        chances = np.exp((logits - logits.max()) / self._temperature).cumsum()
        return int(chances.searchsorted(self._random.random() * chances[-1], side="right"))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))

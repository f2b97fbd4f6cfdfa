"""The instruct model: a prompt in, a finished answer out, inside a schema where one is given.

Callers may be many, from any thread; each does its own preparing and waiting, and one thread decodes for all of them
(see `scheduler`).
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from backend.errors import ContextOverflow, InferenceError, Stopped
from backend.inference.chat import ChatMessage, ChatTemplate
from backend.inference.constraint import Constraint, ConstraintMaker
from backend.inference.loader import LoadedModel
from backend.inference.prefix import PrefixStore
from backend.inference.progress import Bell, Pace, Progress
from backend.inference.scheduler import EngineTotals, Scheduler
from backend.inference.sequences import Chooser, Completion, Request

# How often somebody who waits for an answer looks whether they should stop, seconds.
_LOOK_EVERY_S: Final = 0.1

type Prompt = Sequence[int] | Sequence[ChatMessage]


class Engine:
    """The instruct model; every method may be called from any thread."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        stopping: Callable[[], bool] = lambda: False,
        prefix_dir: Path | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """`stopping` ends every call with Stopped while it says True, as does the one given to a call.

        Instructions that were read are kept in `prefix_dir`, where there is one. `on_progress` hears of everything that
        is in work together, a few times a second, in a thread that waits for an answer, which gets what it raises.
        Raises InferenceError when `model` has an engine: two would not know what the other left in its memory.
        """
        if model.callbacks:
            raise InferenceError("this model has an engine")
        self._model = model
        self._stopping = stopping
        self._template = ChatTemplate(model)
        self._making = threading.Lock()
        self._maker: ConstraintMaker | None = None
        store = PrefixStore(model, prefix_dir) if prefix_dir else None
        scheduler = self._scheduler = Scheduler(model, store)
        self._bell = Bell(on_progress, lambda: scheduler.progress)
        model.before_close.append(self.close)

    @property
    def n_ctx_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._model.n_ctx_tokens

    @property
    def n_parallel(self) -> int:
        """Requests that are decoded together; more of them wait."""
        return self._scheduler.n_parallel

    @property
    def totals(self) -> EngineTotals:
        """What the engine has done so far."""
        return self._scheduler.totals

    @property
    def progress(self) -> Progress | None:
        """How far everything in work is together, at most a quarter of a second ago; None while nothing is."""
        return self._scheduler.progress

    @property
    def is_closed(self) -> bool:
        """Whether the model has been unloaded."""
        return self._model.is_closed

    def close(self) -> None:
        """End what is in work with InferenceError, and refuse what comes; closing the model does this first."""
        self._scheduler.close()

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
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Completion:
        """The model's answer to a conversation, or to a prompt that is tokens already.

        The best token at each step when `temperature` is 0, else one drawn by `seed`. With a `schema` the answer is
        JSON that satisfies it, as far as JSON schemas are understood; ranges of numbers are for the caller to check.
        All of a conversation but its last message is taken for instructions that come again: they are read once.

        Raises:
            ContextOverflow: prompt and `max_tokens` do not fit the context; nothing was decoded.
            AnswerUnreadable: `max_tokens` were written and the answer had not ended.
            ReadingFailed: llama.cpp could not decode.
            InferenceError: the schema cannot be compiled, or the model has been unloaded.
            Stopped: `stopping` said so; the model is usable afterwards.
        """
        tokens, fixed = self._tokens(prompt)
        if len(tokens) + max_tokens > self.n_ctx_tokens:
            raise ContextOverflow(len(tokens) + max_tokens, self.n_ctx_tokens)
        chooser, constraint = Chooser(temperature, seed), self._constraint(schema)
        return self._wait(Request(tokens, fixed, max_tokens, chooser, constraint, pace=Pace(on_progress)), stopping)

    def try_out(self, tokens: Sequence[int], *, n_more: int) -> None:
        """Read `tokens` and decode `n_more`, whatever they say: the library is tried with many and with one."""
        # One more is chosen than is decoded.
        self._wait(Request(list(tokens), (), n_more + 1, Chooser(0.0, 0), is_trial=True), None)

    def _wait(self, request: Request, stopping: Callable[[], bool] | None) -> Completion:
        def stops() -> bool:
            return self._stopping() or (stopping is not None and stopping())

        if stops():
            raise Stopped
        self._scheduler.submit(request)
        try:
            while True:
                try:
                    return request.done.result(timeout=_LOOK_EVERY_S)
                except TimeoutError:
                    if request.done.done():
                        raise
                if stops():
                    raise Stopped
                self._bell.ring()
        finally:
            if not request.done.done():
                self._scheduler.cancel(request)

    def _tokens(self, prompt: Prompt) -> tuple[list[int], tuple[int, ...]]:
        """The prompt's tokens, and those at its beginning that come again."""
        if not prompt:
            raise InferenceError("a prompt needs at least one token")
        if isinstance(prompt[0], ChatMessage):
            messages: Sequence[ChatMessage] = prompt  # type: ignore[assignment] # all of one kind
            return self._template.tokens(messages), self._template.fixed_tokens(messages)
        return list(prompt), ()  # type: ignore[arg-type] # all of one kind

    def _constraint(self, schema: dict[str, Any] | None) -> Constraint | None:
        if schema is None:
            return None
        with self._making:
            if self._maker is None:
                self._maker = ConstraintMaker(self._model)
        return self._maker.constraint(schema)

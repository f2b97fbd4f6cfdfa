"""DSPy's language model over the engine: what the application and the optimizer scripts share.

DSPy 3.4's engine contract (`complete(Request) -> Response`); `forward` is deprecated and gone in 3.5. Nothing here
touches DSPy's global settings: whoever owns the process calls `quiet_dspy` and uses `dspy.context`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, Self

import dspy
from dspy import lm15

from backend.errors import ContextOverflow, InferenceError, ReadingFailed, ReadingUnavailable, Stopped
from backend.inference.chat import ChatMessage
from backend.inference.sequences import Completion

# An answer may not take more than this part of the context, or no room is left for what it is about.
_MOST_OF_CONTEXT: Final = 0.5


class Decoder(Protocol):
    """What answers: `Engine` on this machine, `RemoteEngine` elsewhere."""

    @property
    def n_ctx_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without what a template puts round it."""
        ...

    def complete(
        self,
        prompt: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Completion:
        """A finished answer; raises as `Engine.complete`."""
        ...


class LlamaEngine:
    """The DSPy engine: requests in DSPy's words to our engine's, and answers back."""

    # JSONAdapter sends a schema only where the engine says these.
    supports_response_schema = True
    supports_function_calling = False
    supports_reasoning = False
    supported_params = frozenset({"temperature", "max_tokens", "seed", "response_format"})

    def __init__(self, engine: Decoder | None, name: str, max_answer_tokens: int) -> None:
        """Without an `engine` it is what was loaded from a saved program: it names a model and cannot answer."""
        self._engine = engine
        self.name = name
        self.max_answer_tokens = max_answer_tokens

    @property
    def engine(self) -> Decoder:
        """The engine that decodes. Raises ReadingUnavailable when none is attached."""
        if self._engine is None:
            raise ReadingUnavailable(f"the program was saved with {self.name}: give it a loaded model")
        return self._engine

    def complete(self, request: lm15.Request) -> lm15.Response:
        """One answer. An answer that is cut off is an error: DSPy would mend and believe it."""
        config = request.config
        try:
            done = self.engine.complete(
                _messages(request),
                schema=_schema(config.response_format),
                max_tokens=config.max_tokens or self.max_answer_tokens,
                temperature=config.temperature or 0.0,
                seed=config.seed or 0,
            )
        except ContextOverflow as error:
            raise lm15.ContextLengthError(str(error)) from error
        usage = lm15.Usage(
            input_tokens=done.n_prompt,
            output_tokens=done.n_generated,
            total_tokens=done.n_prompt + done.n_generated,
            cache_read_tokens=done.n_reused,
        )
        message = lm15.Message.assistant([lm15.TextPart(done.text)])
        return lm15.Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)

    def stream(self, request: lm15.Request) -> Iterator[Any]:
        """The answer's events, all of them at its end."""
        events: Iterator[Any] = lm15.response_to_events(self.complete(request))
        return events

    def close(self) -> None:
        """Nothing: the engine belongs to whoever loaded the model."""

    def dump_state(self) -> dict[str, Any]:
        """What a saved program remembers of the model: which one it was."""
        return {"name": self.name, "max_answer_tokens": self.max_answer_tokens}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """The engine of a saved program, with no model attached."""
        return cls(None, str(state["name"]), int(state["max_answer_tokens"]))


class DspyLM(dspy.LM):  # type: ignore[misc] # dspy ships no types
    """A `dspy.LM` on this machine: no cache, no history, no retries of its own."""

    def __init__(self, model: str, *, engine: LlamaEngine, weights: str = "", **options: Any) -> None:
        """`weights` is the fingerprint of the file (see `Provenance`); made by `from_engine` as a rule."""
        chosen = {
            "cache": False,
            "num_retries": 0,
            "temperature": 0.0,
            "max_tokens": engine.max_answer_tokens,
        } | options
        super().__init__(model, engine=engine, **chosen)
        self.weights = weights

    @classmethod
    def from_engine(cls, engine: Decoder, name: str, *, max_answer_tokens: int, weights: str = "") -> Self:
        """The language model over a loaded engine; `name` is the file's."""
        most = min(max_answer_tokens, int(engine.n_ctx_tokens * _MOST_OF_CONTEXT))
        return cls(f"charlie/{name}", engine=LlamaEngine(engine, name, most), weights=weights)

    @property
    def n_ctx_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""
        return int(self.engine.engine.n_ctx_tokens)

    @property
    def max_answer_tokens(self) -> int:
        """Tokens that an answer may have."""
        return int(self.engine.max_answer_tokens)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without what the chat template puts round it."""
        return int(self.engine.engine.count_tokens(text))

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Answer as `dspy.LM` does, with our own errors (Stopped too) as themselves, not wrapped in DSPy's.

        `dspy.lm15.ContextLengthError` comes back as ContextOverflow.
        """
        try:
            return super().__call__(*args, **options)
        except dspy.utils.exceptions.LMError as error:
            ours = _ours_in(error)
            if ours is None:
                raise ReadingFailed(f"DSPy could not use the model ({type(error).__name__})") from None
        raise ours from None

    def dump_state(self) -> dict[str, Any]:
        """What a saved program remembers; loading it gives a model that is named and not attached."""
        return {**super().dump_state(), "weights": self.weights}

    def update_history(self, entry: Any) -> None:
        """Nothing: DSPy's history keeps every prompt, and prompts are journal text."""


def quiet_dspy() -> None:
    """Switch off DSPy's caches and its log on stderr, for this process; called once by whoever owns it."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    dspy.disable_logging()


def _ours_in(error: BaseException) -> Exception | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InferenceError | Stopped):
            return cause
        cause = cause.__cause__
    return None


def _messages(request: lm15.Request) -> list[ChatMessage]:
    found = []
    if request.system is not None:
        parts = request.system if isinstance(request.system, str) else "".join(part.text for part in request.system)
        found.append(ChatMessage("system", parts))
    found.extend(ChatMessage(message.role, message.text or "") for message in request.messages)
    return found


def _schema(response_format: Any) -> dict[str, Any] | None:
    if not response_format:
        return None
    schema = response_format.get("schema") or response_format.get("json_schema", {}).get("schema")
    return dict(schema) if schema else {"type": "object"}

"""What a request and its answer hold while they are decoded: plain state, touched by one thread at a time."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backend.errors import AnswerUnreadable
from backend.inference.constraint import Constraint
from backend.inference.loader import LoadedModel
from backend.inference.progress import Pace

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


@dataclass(eq=False, slots=True)
class Request:
    """A prompt that waits for its answer, and the answer as far as it goes."""

    prompt: list[int]
    # Tokens at the beginning that other prompts share and that are worth keeping; empty for none.
    fixed: tuple[int, ...]
    max_tokens: int
    chooser: "Chooser"
    constraint: Constraint | None = None
    # A trial writes exactly `max_tokens`, whatever they say.
    is_trial: bool = False
    pace: Pace = field(default_factory=lambda: Pace(None))
    done: Future[Completion] = field(default_factory=Future)
    # Set by the thread that waits; seen by the one that decodes.
    is_cancelled: bool = False
    # What it begins with, while that is read for it or shared by it.
    prefix: "Track | None" = None
    # Whether what it begins with is read because of it.
    reads_prefix: bool = False
    n_reused: int = 0
    pieces: list[bytes] = field(default_factory=list)

    def take(self, logits: Logits, model: LoadedModel) -> list[int]:
        """Choose what comes next: the tokens to read before the next choice; none when the answer has ended.

        More than one where the schema leaves no choice after the chosen one: nothing has to be asked of the model.

        Raises:
            AnswerUnreadable: the limit is reached and the answer has not ended.
        """
        token = self.chooser.choose(logits, self.constraint)
        if self.is_trial:
            self.pieces.append(b"")
            return [token] if len(self.pieces) < self.max_tokens else []
        if model.ends_answer(token):
            return []
        tokens = [token]
        is_finished = False
        if self.constraint is not None:
            tokens += self.constraint.accept(token)
            is_finished = self.constraint.is_finished
        self.pieces.extend(model.piece(token) for token in tokens)
        if len(self.pieces) > self.max_tokens or (len(self.pieces) == self.max_tokens and not is_finished):
            n_chars = sum(len(piece) for piece in self.pieces)
            raise AnswerUnreadable(n_chars, f"reached its limit of {self.max_tokens} tokens before it ended")
        return [] if is_finished else tokens

    def finish(self) -> None:
        """Hand the answer to who waits for it."""
        text = b"".join(self.pieces).decode("utf-8", "replace")
        self._settle(Completion(text, len(self.prompt), self.n_reused, len(self.pieces), "stop"), None)

    def fail(self, error: Exception) -> None:
        """Hand an error to who waits."""
        self._settle(None, error)

    def _settle(self, completion: Completion | None, error: Exception | None) -> None:
        if self.done.done():
            return
        if error is not None:
            self.done.set_exception(error)
        elif completion is not None:
            self.done.set_result(completion)


@dataclass(eq=False, slots=True)
class Track:
    """One sequence of llama.cpp's memory."""

    number: int
    # What is to be read next, in order.
    unread: list[int]
    # What has been read.
    held: list[int] = field(default_factory=list)
    # None for instructions that are only kept.
    request: Request | None = None
    # Tokens of room that are set aside for it, those it shares not counted.
    n_reserved: int = 0
    # Monotonic seconds.
    used_s: float = 0.0


class Chooser:
    """Picks tokens: the best, or drawn in proportion to likelihood at a temperature."""

    # So many are asked about one by one before the whole vocabulary is: 0.02 ms each, against 0.2 to 1.5 for a mask.
    _TRIES: Final = 3

    def __init__(self, temperature: float, seed: int) -> None:
        self._temperature = temperature
        self._random = np.random.default_rng(seed) if temperature > 0 else None

    def choose(self, logits: Logits, constraint: Constraint | None) -> int:
        """A token that `constraint` allows; refused ones are made impossible in `logits`.

        To draw again among the others after a refusal gives each its share, as drawing among the allowed at once would.
        """
        token = self._pick(logits)
        if constraint is None:
            return token
        for _ in range(self._TRIES):
            if constraint.allows(token):
                return token
            logits[token] = -np.inf
            token = self._pick(logits)
        return token if constraint.allows(token) else self._pick(np.where(constraint.mask(), logits, -np.inf))

    def _pick(self, logits: Logits) -> int:
        if self._random is None:
            return int(logits.argmax())
        chances = np.exp((logits - logits.max()) / self._temperature).cumsum()
        return int(chances.searchsorted(self._random.random() * chances[-1], side="right"))

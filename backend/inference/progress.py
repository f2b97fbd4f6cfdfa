"""How far the engine is, told to whoever listens a few times a second."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

# No more often than this, seconds: of one request, and to the bell's listener, which may write to disk.
_TELL_EVERY_S: Final = 0.25
_RING_EVERY_S: Final = 0.5
# How much the latest answer counts in what is taken for usual.
_NEWEST: Final = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one request is, or all that are in work together."""

    # Part of the prompt that has been read, 0 to 1.
    prompt_fraction: float
    # Tokens of the answer so far.
    n_generated: int
    # Of what is going on: reading the prompt, or answering. 0 until there is something to measure.
    tokens_per_s: float
    # Until the end, should the answer be as long as those before it; None while that cannot be told.
    seconds_left: float | None


class Pulse:
    """Says when it is time to tell again."""

    def __init__(self, every_s: float = _TELL_EVERY_S) -> None:
        self._every_s = every_s
        self._told_s = 0.0

    def is_due(self) -> bool:
        """Whether so much time has gone by since it last said so."""
        now_s = time.monotonic()
        if now_s - self._told_s < self._every_s:
            return False
        self._told_s = now_s
        return True


class Bell:
    """Tells one listener of all that is in work, from the threads that wait for it rather than the one that decodes.

    So a listener that takes its time, a database that syncs say, holds up nobody's tokens.
    """

    def __init__(self, listener: Callable[[Progress], None] | None, look: Callable[[], Progress | None]) -> None:
        """`look` says how far everything is, or None while nothing is in work."""
        self._listener = listener
        self._look = look
        self._pulse = Pulse(_RING_EVERY_S)
        self._ringing = threading.Lock()

    def ring(self) -> None:
        """Tell, when it is time and no other thread is at it; called again and again by whoever waits."""
        if self._listener is None or not self._ringing.acquire(blocking=False):
            return
        try:
            progress = self._look()
            if progress is not None and self._pulse.is_due():
                self._listener(progress)
        finally:
            self._ringing.release()


class Usual:
    """What answers were like so far: a moving average of their length and speed."""

    def __init__(self) -> None:
        self.length: float | None = None
        self.tokens_per_s: float | None = None

    def note(self, n_generated: int, seconds: float) -> None:
        """Count in an answer that has come to its end."""
        if not n_generated or seconds <= 0:
            return
        self.length = _moved(self.length, n_generated)
        self.tokens_per_s = _moved(self.tokens_per_s, n_generated / seconds)


class Pace:
    """Times one request and tells of it, coalesced."""

    def __init__(self, listener: Callable[[Progress], None] | None) -> None:
        self._listener = listener
        # Monotonic seconds; 0 for not yet.
        self._reading_s = self._answering_s = 0.0
        self._pulse = Pulse()
        self._n_before = 0
        self.latest: Progress | None = None

    @property
    def answering_s(self) -> float:
        """Seconds since the first token of the answer; 0 before."""
        return time.monotonic() - self._answering_s if self._answering_s else 0.0

    def begin(self, n_before: int) -> None:
        """The prompt is read from now on; `n_before` tokens of it need not be.

        Said again while what it begins with is being read, it changes nothing, but where all is to be read after all.
        """
        if not self._reading_s:
            self._reading_s, self._n_before = time.monotonic(), n_before
        self._n_before = min(self._n_before, n_before)

    def note(self, n_read: int, n_prompt: int, n_generated: int, usual: Usual) -> None:
        """Note how far it is, and tell it when it is time."""
        now_s = time.monotonic()
        if n_generated and not self._answering_s:
            self._answering_s = now_s
        if not self._pulse.is_due():
            return
        self.latest = self._progress(now_s, n_read, n_prompt, n_generated, usual)
        if self._listener is not None:
            self._listener(self.latest)

    def _progress(self, now_s: float, n_read: int, n_prompt: int, n_generated: int, usual: Usual) -> Progress:
        if self._answering_s:
            per_s = _rate(n_generated - 1, now_s - self._answering_s)
            left_s = max(0.0, usual.length - n_generated) / per_s if usual.length and per_s else None
            return Progress(1.0, n_generated, per_s, left_s)
        per_s = _rate(n_read - self._n_before, now_s - self._reading_s)
        left_s = None
        if per_s and usual.length and usual.tokens_per_s:
            left_s = (n_prompt - n_read) / per_s + usual.length / usual.tokens_per_s
        return Progress(n_read / n_prompt, 0, per_s, left_s)


def together(parts: Sequence[Progress]) -> Progress | None:
    """One account of all that is in work; None for nothing. The speed is that of answers, once there are any."""
    if not parts:
        return None
    left = [part.seconds_left for part in parts if part.seconds_left is not None]
    answering = [part for part in parts if part.n_generated]
    return Progress(
        sum(part.prompt_fraction for part in parts) / len(parts),
        sum(part.n_generated for part in parts),
        sum(part.tokens_per_s for part in answering or parts),
        max(left, default=None),
    )


def _rate(count: int, seconds: float) -> float:
    return max(0, count) / seconds if seconds > 0 else 0.0


def _moved(average: float | None, newest: float) -> float:
    return newest if average is None else average + _NEWEST * (newest - average)

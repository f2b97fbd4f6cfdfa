"""A streamed answer as it comes: server-sent events, gathered into what a server that does not stream would have said.

Streaming is for the way: who hangs up ends the server's work too, and the speed can be told. Nothing of an answer is
used before all of it is there.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from backend.inference.progress import Pace, Progress, Usual, together

_DONE: Final = "[DONE]"
# Fields of an event that carry nothing here, and comments, which keep a connection alive.
_OTHER_FIELDS: Final = ("event", "id", "retry", "")


# A request that was sent and has no token of its answer yet: how far the server is with the prompt it does not say.
_SENT: Final = Progress(0.0, 0, 0.0, None)


class StreamGarbled(ValueError):
    """What came is no stream of events; its words may quote an entry, and are not in here."""


class EventStream:
    """One answer; fed by the thread that receives, read by the one that waits once that is done."""

    def __init__(self, on_token: Callable[[int], None] = lambda _n_tokens: None) -> None:
        """`on_token` is called with the number of tokens that have come, at every one, in the thread that feeds."""
        self._on_token = on_token
        self._line = bytearray()
        self._texts: list[str] = []
        self._finish: str | None = None
        self._usage: Any = None
        self._is_done = False
        self.n_tokens = 0
        # What the server says went wrong in the middle, or None.
        self.error: Any = None
        # Whether the server streams: set by who receives.
        self.has_begun = False

    @property
    def status(self) -> int:
        """What the status of the answer would have been without a stream."""
        if self.error is None:
            return 200
        code = self.error.get("code") if isinstance(self.error, dict) else None
        return code if isinstance(code, int) and 400 <= code < 600 else 500

    @property
    def is_silent(self) -> bool:
        """Whether not one token has come: some servers end a stream so where they refuse a request."""
        return self.n_tokens == 0 and self._finish is None and self.error is None

    @property
    def is_whole(self) -> bool:
        """Whether the server came to an end of its own."""
        return self._is_done or self._finish is not None or self.error is not None

    @property
    def is_cut(self) -> bool:
        """Whether it ended in order and the answer did not: another request drove it out."""
        return self._is_done and self._finish is None and self.error is None

    def feed(self, piece: bytes) -> None:
        """Take what came next. Raises StreamGarbled."""
        *lines, rest = (bytes(self._line) + piece).split(b"\n")
        self._line = bytearray(rest)
        for line in lines:
            self._take(line.rstrip(b"\r"))

    def completion(self) -> dict[str, Any]:
        """What has come as one chat completion, or the server's error."""
        if self.error is not None:
            return {"error": self.error}
        choice = {"message": {"content": "".join(self._texts)}, "finish_reason": self._finish}
        usage = self._usage if isinstance(self._usage, dict) else {"completion_tokens": self.n_tokens}
        return {"choices": [choice], "usage": usage}

    def _take(self, line: bytes) -> None:
        try:
            field, _, value = line.decode("utf-8").partition(":")
            if field != "data":
                if field in _OTHER_FIELDS:
                    return
                raise StreamGarbled
            value = value.strip()
            if value == _DONE:
                self._is_done = True
                return
            self._note(json.loads(value))
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise StreamGarbled from None

    def _note(self, event: dict[str, Any]) -> None:
        self._usage = event.get("usage") or self._usage
        if event.get("error") is not None:
            self.error = event["error"]
            return
        # The count of tokens may come alone, after the answer.
        choices = event.get("choices", []) if "usage" in event else event["choices"]
        for choice in choices[:1]:
            delta = choice.get("delta") or {}
            text = delta.get("content")
            if text is not None:
                self._texts.append(str(text))
            # A thought comes apart from the answer where the server knows them.
            if text or delta.get("reasoning_content"):
                self.n_tokens += 1
                self._on_token(self.n_tokens)
            self._finish = choice.get("finish_reason") or self._finish


class Streams:
    """Those of one server that are open, and how far they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paces: list[Pace] = []
        self._usual = Usual()

    @contextmanager
    def opened(self, n_prompt: int) -> Iterator[EventStream]:
        """One for an answer to `n_prompt` tokens, timed as long as the block lasts."""
        pace = Pace(None)
        pace.begin(0)
        stream = EventStream(lambda n_tokens: pace.note(n_prompt, n_prompt, n_tokens, self._usual))
        with self._lock:
            self._paces.append(pace)
        try:
            yield stream
        finally:
            with self._lock:
                self._paces.remove(pace)
                self._usual.note(stream.n_tokens if stream.is_whole else 0, pace.answering_s)

    def progress(self) -> Progress | None:
        """Of all of them together; None for none."""
        with self._lock:
            return together([pace.latest or _SENT for pace in self._paces])

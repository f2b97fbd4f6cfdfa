"""HTTP to an inference server: one request and its answer, cut off within a tenth of a second when asked.

A blocked read cannot be woken from another thread, so the requests live on an event loop in a thread of its own,
where cancelling one closes its connection, and the server with it stops working for nobody.
"""

import asyncio
import concurrent.futures
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from backend.errors import InferenceError, ReadingUnavailable, Stopped
from backend.inference.remote_stream import EventStream, StreamGarbled
from backend.settings import is_loopback

# How often somebody who waits looks whether they should stop, seconds.
_LOOK_EVERY_S: Final = 0.1
_CONNECT_S: Final = 5.0
# A model of 8B on a slow machine, a full context to read and the longest answer to write.
ANSWER_WITHIN_S: Final = 900.0
# What needs no model at all.
LOOK_UP_WITHIN_S: Final = 10.0
# Nothing that a server has to say is longer; a stream takes some 300 bytes a token.
_MOST_BYTES: Final = 8 << 20
_MOST_STREAM_BYTES: Final = 64 << 20
_CLOSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    # The JSON of the body, or None where it is none.
    body: Any


class Server:
    """An inference server at a base URL (`http://host:port/v1`); every method may be called from any thread."""

    def __init__(self, url: str, key: SecretStr | None, *, stopping: Callable[[], bool] = lambda: False) -> None:
        """Connects to nothing. `stopping` ends every request with Stopped while it says True."""
        # It writes a line for every request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.url = url
        # Where what is not part of OpenAI's interface lies.
        self.root = url.removesuffix("/v1")
        self._stopping = stopping
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            # A redirect would take text and key to where the person did not say.
            follow_redirects=False,
            # A proxy of the environment is another machine.
            trust_env=not is_loopback(urlsplit(url).hostname or ""),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="inference-server", daemon=True)
        self._thread.start()
        self._closing = threading.Lock()
        self.is_closed = False

    def __repr__(self) -> str:
        """The address, and not the key."""
        return f"Server({self.url!r})"

    def get(self, url: str) -> Answer:
        """Look something up; raises as `post`."""
        return self._ask("GET", url, None, LOOK_UP_WITHIN_S, self._stopping)

    def post(
        self,
        url: str,
        body: dict[str, Any],
        *,
        within_s: float = LOOK_UP_WITHIN_S,
        stopping: Callable[[], bool] | None = None,
        stream: EventStream | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Ask for something. What the server's status means is for the caller to say.

        Where the server streams its answer it goes through `stream`, and comes back as if it had not. `on_wait` is
        called in this thread, again and again until the answer is there.

        Raises:
            ReadingUnavailable: no server there, the connection broke, no answer came in time, or a stream of garbage.
            Stopped: `stopping` said so; the connection is closed.
            InferenceError: this Server has been closed.
        """
        # In ASCII: a lone surrogate would make the encoder raise, and quote the text.
        content = json.dumps(body).encode("ascii")
        return self._ask("POST", url, content, within_s, stopping or self._stopping, stream, on_wait)

    def close(self) -> None:
        """Cut off what is under way and end the thread. Idempotent."""
        with self._closing:
            if self.is_closed:
                return
            self.is_closed = True
            asyncio.run_coroutine_threadsafe(self._end(), self._loop)
            self._thread.join(_CLOSE_S)
            if not self._thread.is_alive():
                self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()
        self._loop.stop()

    def _ask(
        self,
        method: str,
        url: str,
        content: bytes | None,
        within_s: float,
        stops: Callable[[], bool],
        stream: EventStream | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Answer:
        if stops() or self._stopping():
            raise Stopped
        with self._closing:
            if self.is_closed:
                raise InferenceError("the model has been unloaded: ask the manager for it again")
            sending = self._send(method, url, content, within_s, stream)
            future = asyncio.run_coroutine_threadsafe(sending, self._loop)
        try:
            while not concurrent.futures.wait([future], _LOOK_EVERY_S).done:
                if stops() or self._stopping():
                    raise Stopped
                if self.is_closed:
                    raise InferenceError("the model was unloaded while it read")
                on_wait()
            return future.result()
        except concurrent.futures.CancelledError:
            raise InferenceError("the model was unloaded while it read") from None
        finally:
            # Whatever ended the waiting, `on_wait` or Ctrl-C too: the server is not to work for nobody.
            future.cancel()

    async def _send(
        self, method: str, url: str, content: bytes | None, within_s: float, stream: EventStream | None
    ) -> Answer:
        # None of httpx' errors is passed on: they carry the request, text and key included.
        # A server that fails in the middle of a stream closes the connection a moment after its end (llama_cpp.server),
        # and the next request would be sent into it.
        headers = {"Connection": "close"} if stream is not None else {}
        asking = self._client.stream(method, url, content=content, headers=headers)
        try:
            async with asyncio.timeout(within_s), asking as response:
                if stream is not None and _is_stream(response):
                    return await self._follow(response, stream)
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise self._endless()
                return Answer(response.status_code, _json(bytes(body)))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            problem = "no server answers: start it, or change llm_url"
        except (TimeoutError, httpx.TimeoutException):
            problem = f"no answer within {within_s:.0f} s"
        except httpx.HTTPError:
            problem = "the connection broke off"
        raise ReadingUnavailable(f"{self.url}: {problem}")

    async def _follow(self, response: httpx.Response, stream: EventStream) -> Answer:
        stream.has_begun, n_bytes = True, 0
        try:
            async for piece in response.aiter_bytes():
                stream.feed(piece)
                n_bytes += len(piece)
                if n_bytes > _MOST_STREAM_BYTES:
                    raise self._endless()
        except StreamGarbled:
            problem = "its answer is no stream of events: is it an inference server?"
            raise ReadingUnavailable(f"{self.url}: {problem}") from None
        except httpx.HTTPError:
            # What broke off after the end took nothing with it.
            if not (stream.is_silent or stream.is_whole):
                raise
        if not (stream.is_whole or stream.is_silent):
            raise ReadingUnavailable(f"{self.url}: the connection broke off")
        return Answer(stream.status, stream.completion())

    def _endless(self) -> ReadingUnavailable:
        return ReadingUnavailable(f"{self.url} answers without end: is it an inference server?")


def _is_stream(response: httpx.Response) -> bool:
    kind = str(response.headers.get("Content-Type", ""))
    return response.status_code == 200 and kind.startswith("text/event-stream")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None

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
from backend.settings import is_loopback

# How often somebody who waits looks whether they should stop, seconds.
_LOOK_EVERY_S: Final = 0.1
_CONNECT_S: Final = 5.0
# A model of 8B on a slow machine, a full context to read and the longest answer to write.
ANSWER_WITHIN_S: Final = 900.0
# What needs no model at all.
LOOK_UP_WITHIN_S: Final = 10.0
# Nothing that a server has to say is longer.
_MOST_BYTES: Final = 8 << 20
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
    ) -> Answer:
        """Ask for something. What the server's status means is for the caller to say.

        Raises:
            ReadingUnavailable: no server there, the connection broke, or no answer came in time.
            Stopped: `stopping` said so; the connection is closed.
            InferenceError: this Server has been closed.
        """
        # In ASCII: a lone surrogate would make the encoder raise, and quote the text.
        return self._ask("POST", url, json.dumps(body).encode("ascii"), within_s, stopping or self._stopping)

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

    def _ask(self, method: str, url: str, content: bytes | None, within_s: float, stops: Callable[[], bool]) -> Answer:
        if stops() or self._stopping():
            raise Stopped
        with self._closing:
            if self.is_closed:
                raise InferenceError("the model has been unloaded: ask the manager for it again")
            future = asyncio.run_coroutine_threadsafe(self._send(method, url, content, within_s), self._loop)
        while not concurrent.futures.wait([future], _LOOK_EVERY_S).done:
            if stops() or self._stopping():
                future.cancel()
                raise Stopped
            if self.is_closed:
                raise InferenceError("the model was unloaded while it read")
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise InferenceError("the model was unloaded while it read") from None

    async def _send(self, method: str, url: str, content: bytes | None, within_s: float) -> Answer:
        # None of httpx' errors is passed on: they carry the request, text and key included.
        try:
            async with asyncio.timeout(within_s), self._client.stream(method, url, content=content) as response:
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise ReadingUnavailable(f"{self.url} answers without end: is it an inference server?")
                return Answer(response.status_code, _json(bytes(body)))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            problem = "no server answers: start it, or change llm_url"
        except (TimeoutError, httpx.TimeoutException):
            problem = f"no answer within {within_s:.0f} s"
        except httpx.HTTPError:
            problem = "the connection broke off"
        raise ReadingUnavailable(f"{self.url}: {problem}")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None

"""Connections to the embedded server: they find it, start it where needed, and come back after it was gone."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from backend.database.lifecycle import EmbeddedServer, default_server
from backend.errors import StorageClosing, StorageError, StorageUnavailable

# The longest a command may take. A reply that is late is not asked for again: the command may have been done.
ANSWER_LIMIT_S = 30.0
_MAX_CONNECTIONS = 32

# One client a server, gone with it: not state of its own.
_clients: WeakKeyDictionary[EmbeddedServer, redis.Redis] = WeakKeyDictionary()


class ServerGone(redis.ConnectionError):
    """The server cannot be had; `reason` is our own error. Not retried: the server's owner has tried."""

    def __init__(self, reason: StorageError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class LostConnectionRetry(Retry):
    """Repeats a command whose connection dropped: 5 times within 1.3 seconds, each time starting the server.

    A command whose answer was lost is done twice, so commands must bear that.
    """

    def __init__(self) -> None:
        super().__init__(ExponentialBackoff(cap=0.5, base=0.025), retries=5, supported_errors=(redis.ConnectionError,))

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        """As redis-py's, but a server that cannot be had is final."""

        def may_retry(error: Exception) -> bool:
            return not isinstance(error, ServerGone) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, may_retry, with_failure_count)


class EmbeddedConnection(redis.UnixDomainSocketConnection):
    """A connection that needs no address: it asks `default_server()` when it connects, and not before.

    Give it to a pool (`connection_class=EmbeddedConnection`), as Huey does.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("socket_timeout", ANSWER_LIMIT_S)
        # Version 2 and no CLIENT SETINFO: connecting then costs no round trip. FalkorDB's client reads version 2.
        options.setdefault("protocol", 2)
        options.setdefault("driver_info", None)
        if options.get("retry") is None:
            options["retry"] = LostConnectionRetry()
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py types its clients only

    def _connect(self) -> Any:
        server = default_server()
        try:
            server.ensure_running()
        except StorageError as error:
            gone = ServerGone(error)
        else:
            self.path = os.fspath(server.socket_path)
            return super()._connect()  # type: ignore[no-untyped-call]  # redis-py types its clients only
        raise gone


def redis_client() -> redis.Redis:
    """A client over its own pool, answers decoded; thread-safe, connects at its first command. Close it after use.

    A graph is `falkordb.graph.Graph(client, key)`, one for each thread (it caches the graph's labels);
    `falkordb.FalkorDB` itself (1.8.1) asks the server for INFO twice when it is constructed.
    """
    pool = redis.ConnectionPool(
        connection_class=EmbeddedConnection, max_connections=_MAX_CONNECTIONS, decode_responses=True, protocol=2
    )
    return redis.Redis.from_pool(pool)


def default_client() -> redis.Redis:
    """The one client over the process-wide default server; whoever closes that server closes the client first."""
    return client_of(default_server())


def client_of(server: EmbeddedServer) -> redis.Redis:
    """The one client that goes with a server; it connects to whichever is the default when it is used."""
    return _clients.get(server) or _clients.setdefault(server, redis_client())


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's errors into ours; also a decorator. The driver's own text, which quotes commands, is dropped.

    Raises:
        StorageUnavailable: the server cannot be reached, or gave no answer in time.
        StorageClosing: shutdown has begun.
        StorageError: the server refused the command; carries the code of its answer.
    """
    try:
        yield
    except redis.RedisError as error:
        raise _ours(error) from None


def _ours(error: redis.RedisError) -> StorageError:
    if isinstance(error, ServerGone):
        kind = StorageClosing if isinstance(error.reason, StorageClosing) else StorageUnavailable
        return kind(str(error.reason))
    if isinstance(error, redis.TimeoutError):
        return StorageUnavailable(f"the database gave no answer within {ANSWER_LIMIT_S:.0f} seconds: try again")
    if isinstance(error, redis.ConnectionError):
        return StorageUnavailable(default_server().loss())
    code = re.match(r"[A-Z]{2,20}\b", str(error))
    return StorageError(f"the database refused a command ({code.group() if code else type(error).__name__})")

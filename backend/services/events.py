"""One stream of changes, over Redis pub/sub: whoever shows something hears that it changed, in every process."""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict

import redis

from backend.database import keys
from backend.database.connection import translated
from backend.domain import Change, ChangeKind
from backend.errors import StorageError

_RECONNECT_S = 1.0
# Longer than any silence that would cost anything; without it the connection's own limit ends the wait as an error.
_LISTEN_S = 600.0

_log = logging.getLogger(__name__)


class Events:
    """Publishes changes and hands them to subscribers from one background thread. Nothing is stored."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._callbacks: list[Callable[[Change], None]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(self, change: Change) -> None:
        """Tell everybody; lost when the server cannot be reached, since listeners ask again when it is back."""
        message = asdict(change)
        try:
            with translated():
                self._client.publish(keys.EVENTS_CHANNEL, json.dumps(message))
        except StorageError as error:
            _log.debug("a change could not be told: %s", error)

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Have `callback` called with every change, from a background thread; call what is returned to end it.

        It must not raise. A change without a uuid may stand for many: ask again for everything.
        """
        with self._lock:
            self._callbacks.append(callback)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="events", daemon=True)
                self._thread.start()

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return unsubscribe

    def close(self) -> None:
        """End the background thread. Idempotent."""
        self._closing.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            # Wakes the thread, which sees the flag; where the server is gone its connection wakes it.
            self.publish(Change(ChangeKind.WORKER))
            thread.join(timeout=1.0)

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                with translated():
                    self._follow()
            except StorageError:
                self._closing.wait(_RECONNECT_S)

    def _follow(self) -> None:
        with self._client.pubsub() as pubsub:
            pubsub.subscribe(keys.EVENTS_CHANNEL)
            while not self._closing.is_set():
                message = pubsub.get_message(timeout=_LISTEN_S)
                if message is None or self._closing.is_set():
                    continue
                if message["type"] == "message":
                    change = _change(message["data"])
                    if change is not None:
                        self._hand_out(change)
                elif message["type"] == "subscribe":
                    # The first time, and whenever the driver has connected again by itself: what was told
                    # before is lost, so have everything asked for again.
                    self._hand_out(Change(ChangeKind.WORKER))
                    self._hand_out(Change(ChangeKind.SAVED))

    def _hand_out(self, change: Change) -> None:
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback(change)


def _change(data: str) -> Change | None:
    try:
        raw = json.loads(data)
        return Change(ChangeKind(raw["kind"]), raw["uuid"], raw["journal"], raw["detail"])
    except (ValueError, KeyError):
        # From another version of Charlie on the same home.
        return None

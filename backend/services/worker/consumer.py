"""Huey's consumer as Charlie runs it: one worker thread, no signal handlers, ended by an event of ours."""

import threading
from typing import Any

from huey.consumer import Consumer, ThreadEnvironment


class QuietConsumer(Consumer):  # type: ignore[misc]  # huey ships no types
    """Leaves signals to the program it runs in; Huey's own would re-execute it when the terminal closes.

    `stopping` is its stop flag itself: with one of its own it could take a message between the two.
    """

    def __init__(self, huey: Any, stopping: threading.Event) -> None:
        self._stopping = stopping
        super().__init__(huey, workers=1, worker_type="thread", periodic=False, flush_locks=False)

    def get_environment(self, worker_type: str) -> Any:
        """Threads that end with the event."""
        return _ThreadsUntil(self._stopping)

    def _set_signal_handlers(self) -> None:
        pass


class _ThreadsUntil(ThreadEnvironment):  # type: ignore[misc]  # huey ships no types
    def __init__(self, stopping: threading.Event) -> None:
        super().__init__()
        self._stopping = stopping

    def get_stop_flag(self) -> threading.Event:
        return self._stopping

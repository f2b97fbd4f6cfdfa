"""Huey's consumer as Charlie runs it: one worker thread, no signal handlers."""

from typing import Any

from huey.consumer import Consumer


class QuietConsumer(Consumer):  # type: ignore[misc]  # huey ships no types
    """Leaves signals to the program it runs in; Huey's own would re-execute it when the terminal closes."""

    def __init__(self, huey: Any) -> None:
        super().__init__(huey, workers=1, worker_type="thread", periodic=False, flush_locks=False)

    def _set_signal_handlers(self) -> None:
        pass

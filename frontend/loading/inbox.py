"""Changes on their way from the backend's threads to the event loop."""

from collections.abc import Callable
from threading import Lock

from backend.domain import Change


class ChangeInbox:
    """Collects changes from any thread and rings once until it is emptied.

    An import publishes thousands of changes a second; the event loop gets one message for them all.
    """

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._lock = Lock()
        self._changes: list[Change] = []

    def put(self, change: Change) -> None:
        """Adds a change; rings if it is the first since the inbox was emptied. Any thread."""
        with self._lock:
            is_first = not self._changes
            self._changes.append(change)
        if is_first:
            self._ring()

    def take(self) -> tuple[Change, ...]:
        """All changes since the last call, oldest first."""
        with self._lock:
            taken, self._changes = tuple(self._changes), []
        return taken

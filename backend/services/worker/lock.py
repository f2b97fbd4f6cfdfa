"""One worker at a time, whoever asks: this process, a child of it, or `huey_consumer` in another terminal."""

import os
from collections.abc import Callable
from pathlib import Path

from backend.database.flocks import FileLock

_POLL_S = 0.5


class WorkerGate:
    """The worker lock of a home. The kernel drops it however its holder ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "worker.lock"
        self._lock = FileLock(self._path)
        self.is_held = False

    def enter(self, wait: Callable[[float], bool]) -> bool:
        """Hold the lock, waiting for whoever has it; False when `wait(seconds)` says to give up. Idempotent."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while not self.is_held:
            if self._lock.try_exclusive():
                os.truncate(self._lock.fileno(), 0)
                os.pwrite(self._lock.fileno(), str(os.getpid()).encode(), 0)
                self.is_held = True
            elif wait(_POLL_S):
                return False
        return True

    def leave(self) -> None:
        """Let the next one in. Idempotent."""
        self.is_held = False
        self._lock.release()

    def holder_pid(self) -> int | None:
        """The process that runs the worker; None when nobody does."""
        if self.is_held:
            return os.getpid()
        if not self._path.exists():
            return None
        probe = FileLock(self._path)
        # Shared, so that two who ask at once do not take each other for a worker.
        if probe.try_shared():
            probe.release()
            return None
        written = self._path.read_text().strip()
        return int(written) if written.isdigit() else 0

"""Advisory file locks (flock) that a child process never keeps by accident."""

import fcntl
import os
from pathlib import Path


class FileLock:
    """One flock on one file; not thread-safe. The file stays where it is, only the lock comes and goes.

    The kernel drops the lock when the last descriptor of it is closed, however the process ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def fileno(self) -> int:
        """The descriptor that holds the lock, to hand to a child on purpose."""
        if self._fd is None:
            raise ValueError(f"{self.path.name} is not locked")
        return self._fd

    def try_shared(self) -> bool:
        """Takes the lock beside other shared holders; False while someone holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Takes the lock alone; False while anyone else holds it.

        Where this lock is held shared, a refusal gives that hold up too (flock(2): converting is not atomic).
        """
        return self._try(fcntl.LOCK_EX)

    def release(self) -> None:
        """Gives the lock up; closes the descriptor without unlocking, so that a child it was handed to keeps it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _try(self, mode: int) -> bool:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True

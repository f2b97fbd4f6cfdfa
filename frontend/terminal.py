"""The terminal belongs to the screens: what native code prints goes to a log, and so do Charlie's own records."""

import contextlib
import logging
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_STDOUT, _STDERR = 1, 2
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class ScreenGuard:
    """A context in which file descriptors 1 and 2 lead to `native.log` and Textual draws on a duplicate of 2.

    Textual writes to `sys.__stderr__` and draws only differences: anything that llama.cpp or another library
    prints would stay on the screen, and a `dup2` over it during an update would lose that update for good.
    Logging goes to `charlie.log` meanwhile. Both files are the person's alone (0600).
    """

    def __init__(self, logs_dir: Path) -> None:
        self._logs_dir = logs_dir
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Takes the descriptors over.

        Raises:
            OSError: the folder for logs cannot be written.
        """
        self._logs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            self._log_to(_open_private(self._logs_dir / "charlie.log"), undo)
            self._draw_on_duplicate(undo)
            self._divert(_open_private(self._logs_dir / "native.log"), undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives everything back as it was."""
        self._undo.close()

    @staticmethod
    def _draw_on_duplicate(undo: contextlib.ExitStack) -> None:
        """Textual draws on `sys.__stderr__`, and asks the terminal behind `sys.__stdout__` for its size."""
        former = sys.__stdout__, sys.__stderr__
        screen = os.fdopen(os.dup(_STDERR), "w", encoding="utf-8", errors="replace")
        sys.__stdout__ = sys.__stderr__ = screen  # type: ignore[misc]  # declared final

        def restore() -> None:
            sys.__stdout__, sys.__stderr__ = former  # type: ignore[misc]  # as above
            # A closed terminal takes nothing more.
            with contextlib.suppress(OSError):
                screen.close()

        undo.callback(restore)

    @staticmethod
    def _divert(log_fd: int, undo: contextlib.ExitStack) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (_STDOUT, _STDERR):
            kept = os.dup(number)
            os.dup2(log_fd, number)
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, number)
        os.close(log_fd)

    @staticmethod
    def _log_to(log_fd: int, undo: contextlib.ExitStack) -> None:
        stream = os.fdopen(log_fd, "a", encoding="utf-8", errors="backslashreplace")
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter(_FORMAT))
        root = logging.getLogger()
        former, level = list(root.handlers), root.level
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)

        def restore() -> None:
            root.handlers[:] = former
            root.setLevel(level)
            stream.close()

        undo.callback(restore)


def _open_private(path: Path) -> int:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.fchmod(fd, 0o600)
    return fd

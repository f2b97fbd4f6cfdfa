"""The few Redis commands the server's owner needs, on a plain socket: importing a driver would delay the start."""

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

type Reply = str | int | list["Reply"] | None


class ReplyError(Exception):
    """The server refused a command; `code` is the first word of its answer (ERR, LOADING, ...)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RespConnection:
    """One short-lived connection; not thread-safe.

    Raises:
        OSError: nothing listens, or the server went away (every method).
        TimeoutError: no answer within `timeout_s`.
        ReplyError: the server refused the command.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise
        self._reader = self._socket.makefile("rb")

    def ask(self, *words: str) -> Reply:
        """The answer to one command."""
        parts = [word.encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self._reply()

    def info(self, section: str) -> dict[str, str]:
        """One section of INFO."""
        lines = str(self.ask("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self) -> None:
        """Ends the connection."""
        self._reader.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _reply(self) -> Reply:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"-":
            raise ReplyError(rest.split(" ", 1)[0])
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        return rest

    def _bulk(self, size_bytes: int) -> str | None:
        if size_bytes < 0:
            return None
        data = self._reader.read(size_bytes + 2)
        if len(data) < size_bytes + 2:
            raise ConnectionResetError("the server closed the connection")
        return data[:-2].decode(errors="replace")

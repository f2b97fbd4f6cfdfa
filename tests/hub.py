"""A model hub on loopback: what huggingface_hub asks of the real one, answered the same way, with faults on demand.

As there, a file's address answers with its metadata and a redirect to another host (here `localhost` in place of
`127.0.0.1`), where the bytes lie and ranges are known.
"""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REVISION = "0123456789abcdef0123456789abcdef01234567"
_PIECE_BYTES = 1 << 16


@dataclass
class Hub:
    """What is served and how it fails; changed by a test as it goes."""

    payload: bytes
    url: str = ""
    # What the metadata promises; the truth where None.
    size: int | None = None
    sha256: str | None = None
    # Status of the answers about the file, and of those with its bytes.
    status: int = 200
    bytes_status: int = 200
    is_gated: bool = False
    # Whether metadata is given at all.
    is_hub: bool = True
    knows_ranges: bool = True
    # Bytes after which each next answer breaks off; whole ones when this is used up.
    drops: list[int] = field(default_factory=list)
    # Bytes after which an answer says no more but stays open.
    stalls_after: int | None = None
    pause_s: float = 0.0
    # (method, path, headers in lower case) of every request.
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def ranges(self) -> list[str]:
        """The ranges in which bytes were asked for."""
        return [headers.get("range", "") for method, path, headers in self.requests if path.startswith("/cdn/")]


@contextmanager
def serve_hub(payload: bytes) -> Iterator[Hub]:
    """A hub on a port of its own, which has `payload` under every name."""
    hub = Hub(payload)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def _answer(self, *, has_body: bool) -> None:
        hub = self.hub
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.requests.append((self.command, self.path, headers))
        if self.path.startswith("/cdn/") and has_body:
            self._send_bytes(headers.get("range", ""))
        elif not re.fullmatch(r"/[\w.-]+/[\w.-]+/resolve/\w+/[\w.-]+", self.path):
            self._send_head(404, {"X-Error-Code": "EntryNotFound"})
        elif hub.status != 200:
            self._send_head(hub.status, {"X-Error-Code": "GatedRepo"} if hub.is_gated else {})
        elif not hub.is_hub:
            self._send_head(200, {})
        else:
            sha256 = hub.sha256 or hashlib.sha256(hub.payload).hexdigest()
            self._send_head(
                302,
                {
                    "X-Repo-Commit": REVISION,
                    "X-Linked-Size": str(hub.size or len(hub.payload)),
                    "X-Linked-Etag": f'"{sha256}"',
                    "ETag": '"something else"',
                    "Location": f"{hub.url.replace('127.0.0.1', 'localhost')}/cdn{self.path}?signed=yes",
                },
            )

    def _send_head(self, status: int, headers: dict[str, str], length: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send_bytes(self, wanted: str) -> None:
        hub = self.hub
        if hub.bytes_status != 200:
            self._send_head(hub.bytes_status, {})
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-") or 0) if hub.knows_ranges else 0
        if start >= len(hub.payload):
            self._send_head(416, {})
            return
        body = memoryview(hub.payload)[start:]
        content_range = {"Content-Range": f"bytes {start}-{len(hub.payload) - 1}/{len(hub.payload)}"}
        ranged = wanted and hub.knows_ranges
        self._send_head(206 if ranged else 200, content_range if ranged else {}, len(body))
        end = hub.drops.pop(0) if hub.drops else len(body)
        for at in range(0, min(end, len(body)), _PIECE_BYTES):
            if hub.stalls_after is not None and at >= hub.stalls_after:
                time.sleep(1.0)
                break
            try:
                self.wfile.write(body[at : min(at + _PIECE_BYTES, end)])
            except OSError:  # whoever read has gone
                break
            time.sleep(hub.pause_s)
        self.close_connection = True

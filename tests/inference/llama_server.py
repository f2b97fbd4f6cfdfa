"""A real llama_cpp.server on a loopback port, which ends with the block that started it, or with the process."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What `python -m llama_cpp.server` does, and an end when this process ends, however it does.
_CODE = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)
"""
_START_S = 60.0
_TRIES = 3


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def llama_server(path: Path, log: Path, *, alias: str, key: str, n_ctx_tokens: int) -> Iterator[str]:
    """Its base URL, from the moment it answers; `log` gets what it prints."""
    for _ in range(_TRIES):
        port = free_port()
        options = {
            "model": path,
            "model_alias": alias,
            "host": "127.0.0.1",
            "port": port,
            "api_key": key,
            "n_ctx": n_ctx_tokens,
            "n_threads": 1,
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [sys.executable, "-u", "-c", _CODE, *arguments], stdin=subprocess.PIPE, stdout=output, stderr=output
            ) as child,
        ):
            try:
                # Somebody else may have taken the port meanwhile: then it ends by itself, and another is tried.
                if _is_up(child, port):
                    yield f"http://127.0.0.1:{port}/v1"
                    return
            finally:
                child.kill()
    raise RuntimeError(f"llama_cpp.server did not start: {log}")


def _is_up(child: subprocess.Popen[bytes], port: int) -> bool:
    deadline_s = time.monotonic() + _START_S
    while child.poll() is None and time.monotonic() < deadline_s:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:  # it asks for the key
                return child.poll() is None and error.code == 401
        except OSError:
            time.sleep(0.05)
        else:
            return False
    return False

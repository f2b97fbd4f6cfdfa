"""Starts the worker of a Runtime: in a thread of this process, or in a child of it.

`python -m backend.services.launch` is that child.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import Any

from backend.errors import StorageClosing
from backend.services.current import bind
from backend.services.runtime import Runtime
from backend.services.worker.crashes import Crashes
from backend.services.worker.host import ProcessWorker, ThreadWorker
from backend.settings import load_settings


def start_worker(runtime: Runtime, mode: str = "") -> None:
    """Have entries worked on from now on, as the settings or `mode` ("thread", "process", "none") say. Idempotent.

    Where a reading ended in a native crash, the worker gets a process of its own, and the status says so.
    """
    mode = mode or runtime.settings.worker
    if mode == "none" or runtime.worker is not None or runtime.settings.immediate:
        return
    if mode == "thread" and Crashes(runtime.settings.run_dir).had_crash():
        mode = "process"
        runtime.notice = "after a crash, entries are read in a process of its own"
    bind(runtime)
    if mode == "process":
        command = [sys.executable, "-m", "backend.services.launch"]
        runtime.employ(ProcessWorker(runtime.settings, runtime.stopping, command))
    else:
        runtime.employ(ThreadWorker(runtime, _make_consumer))


def _make_consumer(stopping: threading.Event) -> Any:
    # Half a second together, which would delay the first screen: the worker's own thread pays.
    from backend.services.tasks import huey
    from backend.services.worker.consumer import QuietConsumer

    return QuietConsumer(huey, stopping)


def main() -> None:
    """Run the consumer until standard input ends, which it does when the parent does."""
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    runtime = Runtime(load_settings())
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, lambda *_: runtime.stopping.set())
    try:
        with contextlib.suppress(StorageClosing):
            runtime.open()
            bind(runtime)
            runtime.employ(ThreadWorker(runtime, _make_consumer))
            threading.Thread(target=_await_parent, args=(runtime.stopping,), daemon=True).start()
            runtime.stopping.wait()
    finally:
        runtime.close()
    # Daemon threads may sit in native code, which a normal exit would pull from under them.
    os._exit(0)


def _await_parent(stopping: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stopping.set()


if __name__ == "__main__":
    main()

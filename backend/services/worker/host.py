"""Hosts of the consumer: a thread of this process, or a child of it, each started, watched and stopped."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from backend.errors import StorageError
from backend.services.queue import WorkQueue
from backend.services.worker.crashes import Crashes
from backend.settings import CHECKOUT, Settings

if TYPE_CHECKING:
    from backend.services.worker.session import WorkerSession

# Between two looks at whether the worker thread lives and something was forgotten; costs no Redis command.
_TICK_S = 2.0
# What a model call may take to notice that it is to stop.
_STOP_S = 1.5
# Restarts of a child that ended by itself wait 1, 2, 4 … 30 seconds.
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 1.0, 30.0

_log = logging.getLogger(__name__)


class Worker(Protocol):
    """Whatever works on entries for this process."""

    def start(self) -> None:
        """Begin; returns at once."""
        ...

    def stop(self, timeout_s: float = _STOP_S) -> bool:
        """End within the time; False when something is still in a native call. Idempotent."""
        ...

    def is_alive(self) -> bool:
        """Whether it still works, or will."""
        ...


class Employer(Protocol):
    """What the thread that hosts a worker needs of its Runtime."""

    stopping: threading.Event
    queue: WorkQueue

    @property
    def settings(self) -> Settings:
        """As they stand now."""
        ...

    @property
    def session(self) -> "WorkerSession":
        """Made when it is first asked for."""
        ...


class ThreadWorker:
    """Huey's consumer in threads of this process, without its signal handlers."""

    def __init__(self, employer: Employer, make_consumer: Callable[[threading.Event], Any]) -> None:
        """`make_consumer` is called in the worker's own thread: the imports alone take half a second."""
        self._employer = employer
        self._make_consumer = make_consumer
        self._stopping = employer.stopping
        self._consumer: Any = None
        self._thread = threading.Thread(target=self._run, name="worker-watch", daemon=True)

    def start(self) -> None:
        """Begin in the background."""
        self._thread.start()

    def stop(self, timeout_s: float = _STOP_S) -> bool:
        """End the consumer; False when its thread is still busy after `timeout_s`."""
        self._stopping.set()
        deadline_s = time.monotonic() + timeout_s
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        consumer = self._consumer
        if consumer is None:
            return not self._thread.is_alive()
        self._wake_up()
        threads = [thread for _, thread in consumer.worker_threads] + [consumer.scheduler]
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def is_alive(self) -> bool:
        """Whether the thread that watches the consumer runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        _be_nice(self._employer.settings.worker_nice)
        consumer = self._make_consumer(self._stopping)
        if self._stopping.is_set():
            return
        consumer.start()
        self._consumer = consumer
        while not self._stopping.wait(_TICK_S):
            consumer.check_worker_health()
            try:
                self._employer.session.tick()
            except StorageError as error:
                _log.warning("the database cannot be asked: %s", error)

    def _wake_up(self) -> None:
        try:
            self._employer.queue.wake_worker()
        except Exception as error:  # noqa: BLE001 - quitting must go on whatever the driver raises when the server is gone
            _log.debug("the worker could not be woken: %s", type(error).__name__)


class ProcessWorker:
    """The same consumer in a child of this process, which ends with it however it ends."""

    def __init__(self, settings: Settings, stopping: threading.Event, command: Sequence[str]) -> None:
        """`command` runs the consumer until its standard input ends."""
        self._settings = settings
        self._command = command
        self._stopping = stopping
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name="worker-watch", daemon=True)

    def start(self) -> None:
        """Begin in the background."""
        self._thread.start()

    def stop(self, timeout_s: float = _STOP_S) -> bool:
        """Close the child's standard input, which tells it to end; kill it when it does not."""
        self._stopping.set()
        child = self._child
        if child is not None:
            _close_input(child)
            try:
                child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                # Killed on purpose: the entry it was reading is not to blame.
                Crashes(self._settings.run_dir).forget_leftover()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return True

    def is_alive(self) -> bool:
        """Whether the thread that watches the child runs."""
        return self._thread.is_alive()

    def _watch(self) -> None:
        backoff_s = _MIN_BACKOFF_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            self._child = self._spawn()
            if self._stopping.is_set():
                _close_input(self._child)
            status = self._child.wait()
            _close_input(self._child)
            if self._stopping.is_set():
                return
            _log.warning("the worker's process ended (status %s); it is started again", status)
            if time.monotonic() - started_s > _MAX_BACKOFF_S:
                backoff_s = _MIN_BACKOFF_S
            self._stopping.wait(backoff_s)
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._settings.logs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = os.pathsep.join(part for part in (str(CHECKOUT), os.environ.get("PYTHONPATH", "")) if part)
        log_fd = os.open(self._settings.logs_dir / "worker.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log_fd,
                stderr=log_fd,
                env=os.environ | {"CHARLIE_HOME": str(self._settings.home), "PYTHONPATH": path},
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(log_fd)


def _close_input(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()


def _be_nice(nice: int) -> None:
    if sys.platform == "linux":
        # On Linux this is the thread alone, and those it starts.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)

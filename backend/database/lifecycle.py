"""The one embedded database server of a home: started, attached to, started again and stopped.

Three locks in `<home>/database` decide everything, because the kernel drops them however a process ends:

- `start.lock`   held alone while somebody decides to start or to stop a server.
- `users.lock`   held shared by every attached process; whoever can take it alone is the last one.
- `server.lock`  held by the server itself (see `server_process`).

Only the standard library is imported: the server comes up while the caller imports the rest. Measured on 2 cores:
start to answer 14 ms empty, 55 ms with 5,000 entries of 140 words; stop 3 ms.
"""

import atexit
import contextlib
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from backend.database import server_config, server_process
from backend.database.flocks import FileLock
from backend.database.resp import ReplyError, RespConnection
from backend.errors import StorageClosing, StorageUnavailable

# A failed start is not tried again sooner than this.
RETRY_AFTER_S = 1.0
# A server that lives and gives no sign for so long is given up; one that loads answers all the time.
SILENCE_LIMIT_S = 30.0
# A server that lives and does not listen starts (10 ms) or shuts down; after so long its socket has been removed.
DEAF_LIMIT_S = 3.0
MAX_STARTS = 3
START_LOCK_LIMIT_S = 60.0
# Below this the disk is called full.
FULL_DISK_BYTES = 4 * 1024 * 1024


class EmbeddedServer:
    """This process's hold on the server of one home; thread-safe."""

    _guard: threading.Lock
    _is_closing: threading.Event
    _users: FileLock
    _is_attached: bool
    # Why the last start failed, and when (monotonic); empty after one that worked.
    _failure: str
    _failed_at_s: float

    def __init__(self, home: Path, *, on_loading: Callable[[float], None] | None = None) -> None:
        """Opens nothing. `on_loading` gets 0..1, in the opening thread, while a server with much to load comes up."""
        self.home = home.expanduser().absolute()
        self._database = self.home / "database"
        self._address = server_config.derived_socket_path(self.home)
        self._on_loading = on_loading
        self._reset()
        _reset_after_fork(self)

    @property
    def socket_path(self) -> Path:
        """Where the server listens; once open, the same for every process."""
        return self._address

    @property
    def log_path(self) -> Path:
        """The server's own log; it holds no user data."""
        return self.home / "logs" / "redis.log"

    def open(self) -> None:
        """Starts the server or attaches to the one that runs; returns when it answers. Idempotent.

        Raises:
            StorageUnavailable: it cannot be started; says why and what to do.
            StorageClosing: `close` was called meanwhile.
        """
        self._is_closing.clear()
        self.ensure_running()

    def ensure_running(self) -> None:
        """Starts the server again if it has gone; 0.1 ms while it runs.

        Raises:
            StorageUnavailable: it cannot be started; at once when that was found out less than a second ago.
            StorageClosing: `close` has begun.
        """
        self._check_open()
        with self._guard:
            self._check_open()
            if self._is_attached and server_process.pulse(self._address).is_ready:
                return
            if self._failure and time.monotonic() - self._failed_at_s < RETRY_AFTER_S:
                raise StorageUnavailable(self._failure)
            self._bring_up_or_remember()

    def close(self) -> None:
        """Lets go of the server; the last process that does so stops it and waits until it is gone. Idempotent."""
        self._is_closing.set()
        with self._guard:
            if not self._is_attached:
                return
            start = FileLock(self._database / "start.lock")
            try:
                if self._wait_for(start.try_exclusive, START_LOCK_LIMIT_S) and self._users.try_exclusive():
                    server_process.stop(self._database, self._address)
            except OSError:
                # The folder itself has been removed; its server, if any, is found by nobody.
                server_process.stop(self._database, self._address)
            finally:
                self._users.release()
                start.release()
                self._is_attached = False

    def loss(self) -> str:
        """One line on why the server may have gone, for who lost the connection to it."""
        return self._full_disk() or f"the database server stopped answering: see {self.log_path}"

    def _bring_up_or_remember(self) -> None:
        try:
            self._bring_up()
        except OSError as error:
            unavailable = server_config.cannot_write(self.home, error)
        except StorageUnavailable as error:
            unavailable = error
        else:
            self._failure = ""
            return
        self._failure, self._failed_at_s = str(unavailable), time.monotonic()
        raise unavailable

    def _bring_up(self) -> None:
        server_config.prepare_folders(self.home, self._address)
        has_started = self._start_or_attach()
        n_starts = int(has_started)
        while not self._wait_until_ready():
            # One that ends as it comes up may have been killed, like one that ends later: it gets another chance.
            if n_starts >= MAX_STARTS:
                raise StorageUnavailable(self._why_not_started())
            has_started = self._start_or_attach()
            n_starts += has_started
        if has_started:
            self._after_start()

    def _start_or_attach(self) -> bool:
        """Whether this call started the server."""
        start = FileLock(self._database / "start.lock")
        try:
            if not self._wait_for(start.try_exclusive, START_LOCK_LIMIT_S, or_closing=True):
                raise StorageUnavailable(f"another process keeps {start.path} locked: end it and start Charlie again")
            if not self._is_attached:
                # Held alone only under start.lock, which is ours.
                self._is_attached = self._users.try_shared()
            return self._start_unless_alive()
        finally:
            start.release()

    def _start_unless_alive(self) -> bool:
        lock = server_process.server_lock(self._database)
        deadline_s = time.monotonic() + DEAF_LIMIT_S
        try:
            while not lock.try_exclusive():
                self._adopt_address()
                if server_process.pulse(self._address).is_listening:
                    return False
                if time.monotonic() > deadline_s and not server_process.end(self._database):
                    raise StorageUnavailable(self._stuck())
                self._pause()
            server_config.check_mode(self._database)
            self._address = server_config.derived_socket_path(self.home)
            server_process.spawn(lock, self._address, self.log_path)
        finally:
            lock.release()
        return True

    def _wait_until_ready(self) -> bool:
        """False when the server ends before it answers."""
        deadline_s = time.monotonic() + SILENCE_LIMIT_S
        while not (pulse := server_process.pulse(self._address)).is_ready:
            if pulse.loaded is not None:
                deadline_s = time.monotonic() + SILENCE_LIMIT_S
                if self._on_loading:
                    self._on_loading(pulse.loaded)
            elif not pulse.is_listening and not server_process.is_alive(self._database):
                return False
            if time.monotonic() > deadline_s:
                raise StorageUnavailable(self._stuck())
            self._pause()
        return True

    def _after_start(self) -> None:
        server_config.write_mode(self._database)
        with contextlib.suppress(OSError, ReplyError), RespConnection(self._address, 5.0) as server:
            graphs = server.ask("GRAPH.LIST")
            # Left by a server that was not told `CMD_INFO no`; they hold queries, and so words of the journal.
            if isinstance(graphs, list) and graphs:
                server.ask("UNLINK", *(f"telemetry{{{graph}}}" for graph in graphs))

    def _adopt_address(self) -> None:
        """Another process may have another runtime directory (a login without one): its server's address counts."""
        record = server_process.recorded(self._database)
        if record:
            self._address = record[1]

    def _why_not_started(self) -> str:
        return self._full_disk() or f"the database server ended while it started: the reason is in {self.log_path}"

    def _stuck(self) -> str:
        record = server_process.recorded(self._database)
        pid = record[0] if record else "redis-server"
        return f"the database server ({pid}) does not answer: end it with 'kill {pid}' and start Charlie again"

    def _full_disk(self) -> str:
        with contextlib.suppress(OSError):
            free_bytes = shutil.disk_usage(self._database).free
            if free_bytes < FULL_DISK_BYTES:
                return (
                    f"the disk of {self._database} is full ({free_bytes / 2**20:.1f} MB free): free some space; "
                    "what was saved before is safe"
                )
        return ""

    def _wait_for(self, attempt: Callable[[], bool], limit_s: float, *, or_closing: bool = False) -> bool:
        deadline_s = time.monotonic() + limit_s
        while not attempt():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(server_process.STEP_S)
            if or_closing:
                self._check_open()
        return True

    def _pause(self) -> None:
        time.sleep(server_process.STEP_S)
        self._check_open()

    def _check_open(self) -> None:
        if self._is_closing.is_set():
            raise StorageClosing("Charlie is closing: nothing was written")

    def _reset(self) -> None:
        """The state of a process that has nothing open."""
        self._guard = threading.Lock()
        self._is_closing = threading.Event()
        self._users = FileLock(self._database / "users.lock")
        self._is_attached = False
        self._failure = ""
        self._failed_at_s = 0.0

    def _forget_parent(self) -> None:
        self._users.release()
        self._reset()


def _reset_after_fork(server: EmbeddedServer) -> None:
    """A forked child has its parent's descriptors and must not keep the parent's lock alive."""
    reference = weakref.ref(server)

    def reset() -> None:
        found = reference()
        if found:
            found._forget_parent()

    os.register_at_fork(after_in_child=reset)


_default: EmbeddedServer | None = None
_default_guard = threading.Lock()


def default_server() -> EmbeddedServer:
    """The server that this process's connections use; that of `CHARLIE_HOME` when nobody has set one."""
    global _default
    with _default_guard:
        if _default is None:
            # 60 ms (pydantic), which a caller that sets the slot itself does not pay.
            from backend.settings import default_home

            _default = EmbeddedServer(default_home())
            atexit.register(_default.close)
        return _default


def set_default_server(server: EmbeddedServer | None) -> None:
    """Fills or clears the slot; whoever fills it closes the server."""
    global _default
    with _default_guard:
        _default = server

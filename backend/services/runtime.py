"""The parts of a running Charlie, built in order and closed in reverse; and the slot that Huey tasks need."""

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from backend.database.connection import default_client
from backend.database.lifecycle import EmbeddedServer, set_default_server
from backend.database.redis_ops import PENDING
from backend.database.stores import Stores
from backend.domain import Change, ChangeKind, ReaderKind, Status
from backend.errors import SettingsError, StorageUnavailable
from backend.services.drafts import Drafts
from backend.services.events import Events
from backend.services.gate import WorkerGate
from backend.services.journal import JournalService
from backend.services.status import Board, snapshot
from backend.settings import Settings, load_settings

if TYPE_CHECKING:
    from backend.services.work import Work
    from backend.services.worker import Worker

_DRAIN_STEP_S = 0.1
# Settings that a running Charlie takes up when charlie.toml changes; the others wait for the next start.
_FOLLOWED = (
    "llm_path",
    "allow_remote",
    "llm_url",
    "llm_api_key",
    "llm_model",
    "n_ctx_tokens",
    "max_answer_tokens",
    "n_threads",
    "n_gpu_layers",
    "memory_override",
    "keep_loaded",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far `charlie work --drain` is."""

    done: int
    total: int
    status: Status


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain did. Counts are of this process; `problem` tells why entries still wait."""

    read: int
    failed: int
    dead: int
    loads: int
    seconds: float
    pending: int
    problem: str = ""


class Runtime:
    """Owns the server, the stores, the worker; thread-safe once open."""

    def __init__(self, settings: Settings, *, on_loading: Callable[[float], None] | None = None) -> None:
        """Opens nothing. `on_loading` gets 0 to 1 while the server loads a big journal."""
        self.settings = settings
        self.stopping = threading.Event()
        self.drafts = Drafts(settings.drafts_dir)
        self.gate = WorkerGate(settings.run_dir)
        self.notice = ""
        self._server = EmbeddedServer(settings.home, on_loading=on_loading)
        self._worker: Worker | None = None
        self._has_work_part = False
        self._is_open = False
        self._closing = threading.Lock()
        self._stamp = self._settings_stamp()

    def open(self) -> None:
        """Start or attach to the server and become the Runtime that tasks use. May be tried again.

        Raises:
            StorageUnavailable: it cannot be started; says what to do.
        """
        set_default_server(self._server)
        self._server.open()
        try:
            self.settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"{self.settings.home} cannot be written ({error.strerror})") from None
        self._is_open = True
        bind(self)

    @cached_property
    def stores(self) -> Stores:
        """The database."""
        return Stores(default_client())

    @cached_property
    def events(self) -> Events:
        """What changes, told to whoever shows it."""
        return Events(default_client())

    @cached_property
    def journal(self) -> JournalService:
        """What may be done with entries."""
        return JournalService(self.stores, self.events, self._enqueue, default_journal=self.settings.journal)

    @cached_property
    def work(self) -> "Work":
        """The worker's side; built when the first task or consumer asks."""
        from backend.services.work import Work  # the manager and Huey: 60 ms that no screen needs

        self._has_work_part = True
        return Work(self.settings, default_client(), self.stores, self.events, self.gate, self.stopping)

    @property
    def reader(self) -> ReaderKind:
        """Who has the last word on a new entry."""
        return ReaderKind.LLM if self.settings.has_llm else ReaderKind.TAGGER

    def start_worker(self) -> None:
        """Have entries read from now on, as the settings say.

        Where a reading ended in a native crash, the worker gets a process of its own, and the status says so.
        """
        if self._worker is not None or self.settings.worker == "none" or self.settings.immediate:
            return
        from backend.services.crashes import Crashes
        from backend.services.worker import make_worker

        mode: str = self.settings.worker
        if mode == "thread" and Crashes(self.settings.run_dir).had_crash():
            mode = "process"
            self.notice = "after a crash, entries are read in a process of its own"
        self._worker = make_worker(self, mode)
        self._worker.start()

    def status(self) -> Status:
        """What goes on; never wakes a model."""
        return snapshot(
            self.stores,
            reader=self.reader.value,
            own=self.work.state() if self._has_work_part else None,
            holder_pid=self.gate.holder_pid(),
            read_board=Board(default_client()).read,
            own_pid=os.getpid(),
            notice=self.notice,
        )

    def follow_settings(self) -> None:
        """Take up what was changed in charlie.toml about models since it was read last; costs one stat."""
        stamp = self._settings_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            written = load_settings(home=self.settings.home)
        except SettingsError as error:
            _log.warning("the settings are left as they were: %s", error)
            return
        chosen = {key: getattr(written, key) for key in _FOLLOWED}
        if any(getattr(self.settings, key) != value for key, value in chosen.items()):
            self.settings = self.settings.model_copy(update=chosen)
            if self._has_work_part:
                self.work.use(self.settings)

    def _settings_stamp(self) -> int:
        path = self.settings.home / "charlie.toml"
        return path.stat().st_mtime_ns if path.exists() else 0

    def drain(self, on_progress: Callable[[DrainProgress], None]) -> DrainReport:
        """Have everything read that waits, here or by the worker that runs elsewhere.

        Returns when nothing waits any more, or nothing can be read.
        """
        started_s = time.monotonic()
        before = self.work.reading.tally
        start = (before.read, before.failed, before.dead)
        total = self.stores.ledger.count(*PENDING)
        if total:
            self.start_worker()
        problem = ""
        while not self.stopping.wait(_DRAIN_STEP_S):
            status = self.status()
            total = max(total, status.pending)
            on_progress(DrainProgress(total - status.pending, total, status))
            problem = status.problem
            if self._worker is not None and not self._worker.is_alive():
                problem = f"the worker ended unexpectedly: the reason is in {self.settings.logs_dir}"
            if status.pending == 0 or problem:
                break
        tally = self.work.reading.tally
        return DrainReport(
            read=tally.read - start[0],
            failed=tally.failed - start[1],
            dead=tally.dead - start[2],
            loads=self.work.manager.status().loads,
            seconds=time.monotonic() - started_s,
            pending=self.stores.ledger.count(*PENDING),
            problem=problem,
        )

    def close(self, *, abandon_worker: bool = False) -> None:
        """Stop the worker, unload, let the server go. Idempotent.

        A worker thread that is still in native code after its time is left alone: freeing what it uses would
        end the process in a crash.
        """
        with self._closing:
            self.stopping.set()
            worker, self._worker = self._worker, None
            if worker is not None:
                abandon_worker = not worker.stop()
            if self._has_work_part and not abandon_worker:
                self.work.end()
            if self._is_open:
                self._is_open = False
                self._close_connections()
                unbind(self)
            self._server.close()
            self.drafts.close()

    def _close_connections(self) -> None:
        self.events.publish(Change(ChangeKind.WORKER))
        self.events.close()
        _disconnect_queue()
        default_client().close()

    def _enqueue(self, uuid: str, journal: str, priority: int) -> None:
        from backend.services import tasks  # huey costs 60 ms: the first save pays it, not the first screen

        tasks.send(uuid, journal, priority, with_draft=self.reader is ReaderKind.LLM)


def _disconnect_queue() -> None:
    queue = sys.modules.get("backend.services.queue")
    if queue is not None and not queue.huey.immediate:
        queue.huey.storage.pool.disconnect()


_slot: list[Runtime] = []
_guard = threading.RLock()


def bind(runtime: Runtime) -> None:
    """Make this the Runtime that tasks and `add_journal_entry` use."""
    with _guard:
        _slot[:] = [runtime]


def unbind(runtime: Runtime) -> None:
    """Clear the slot if it holds this one."""
    with _guard:
        if _slot and _slot[0] is runtime:
            _slot.clear()


def current() -> Runtime:
    """The bound Runtime; a script or `huey_consumer` that bound none gets one from the settings, closed at exit."""
    with _guard:
        if not _slot:
            runtime = Runtime(load_settings())
            runtime.open()
            atexit.register(runtime.close)
        return _slot[0]

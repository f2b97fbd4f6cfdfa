"""The parts of a running Charlie, built in order and closed in reverse; and the slot that Huey tasks need."""

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.database.connection import client_of
from backend.database.lifecycle import EmbeddedServer, set_default_server
from backend.database.redis_ops import PENDING
from backend.database.stores import Stores
from backend.domain import Change, ChangeKind, EpisodeStatus, ReaderKind, Status, TokenCounts
from backend.errors import SettingsError, StorageClosing, StorageUnavailable
from backend.services.drafts import Drafts
from backend.services.events import Events
from backend.services.journal import JournalService
from backend.services.review import ReviewService
from backend.services.status import Board, snapshot
from backend.services.worker.conditions import Typing
from backend.services.worker.crashes import Crashes
from backend.services.worker.lock import WorkerGate
from backend.settings import Settings, load_settings

if TYPE_CHECKING:
    from backend.services.worker.host import Worker
    from backend.services.worker.session import Work

_DRAIN_STEP_S = 0.1
# Settings that a running Charlie takes up when charlie.toml changes; the others wait for the next start.
_FOLLOWED = (
    "llm_path",
    "embedding_path",
    "reranker_path",
    "allow_remote",
    "llm_url",
    "llm_api_key",
    "llm_model",
    "n_ctx_tokens",
    "n_parallel",
    "max_answer_tokens",
    "review_below",
    "n_threads",
    "n_gpu_layers",
    "memory_override",
    "max_loaded",
    "pause_on_battery",
    "min_free_memory_mb",
    "load_while_typing",
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
    """What a drain saw; `problem` tells why entries still wait."""

    # Entries that left the queue read, and those given up, by whatever process.
    read: int
    dead: int
    # Readings that failed and models that were loaded in this process.
    failed: int
    loads: int
    seconds: float
    pending: int
    tokens: TokenCounts
    # Resident memory of this process, MiB.
    rss_mb_before: float
    rss_mb_peak: float
    rss_mb_after: float
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
        self._typing = Typing(settings.run_dir)
        self._server = EmbeddedServer(settings.home, on_loading=on_loading)
        self._client = client_of(self._server)
        self.stores = Stores(self._client)
        self.events = Events(self._client)
        self.journal = JournalService(self.stores, self.events, self._enqueue, default_journal=settings.journal)
        self.review = ReviewService(self.stores, self.events, self.journal)
        self._worker: Worker | None = None
        self._work: Work | None = None
        # Held while `_work` is made and while settings are taken up: the screen and the worker may ask at once, and
        # neither may go on with what the other is about to take back.
        self._changing = threading.RLock()
        self._is_open = False
        self._closing = threading.Lock()
        self._stamp = self._settings_stamp()
        # Why the settings as they stand in the file cannot be followed, where that stops the instruct model.
        self._refused = ""

    def open(self) -> None:
        """Start or attach to the server and become the Runtime that tasks use. May be tried again.

        Raises:
            StorageUnavailable: it cannot be started; says what to do.
            StorageClosing: `close` was called, before or meanwhile.
        """
        self._refuse_when_closing()
        set_default_server(self._server)
        self._server.open()
        # `close` may have come before there was anything to close: no server must be left behind.
        self._refuse_when_closing()
        try:
            self.settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"{self.settings.home} cannot be written ({error.strerror})") from None
        self._is_open = True
        bind(self)

    def _refuse_when_closing(self) -> None:
        if self.stopping.is_set():
            self._server.close()
            raise StorageClosing("Charlie is closing: nothing was written")

    @property
    def work(self) -> "Work":
        """The worker's side; built when the first task or consumer asks."""
        if self._work is None:
            self._make_work()
        assert self._work is not None
        return self._work

    def _make_work(self) -> None:
        from backend.services import tasks  # with the next line the manager and Huey: 60 ms that no screen needs
        from backend.services.worker.session import Work

        with self._changing:
            self._work = self._work or Work(
                self.settings,
                self._client,
                self.stores,
                self.events,
                self.gate,
                self.stopping,
                wake=tasks.send,
                awaited=tasks.awaited,
                next_up=tasks.next_up,
            )
            if self._refused:
                self._work.refuse(self._refused)

    @property
    def reader(self) -> ReaderKind:
        """Who has the last word on a new entry."""
        return ReaderKind.LLM if self.settings.has_llm else ReaderKind.TAGGER

    def start_worker(self) -> None:
        """Have entries read from now on, as the settings say.

        Where a reading ended in a native crash, the worker gets a process of its own, and the status says so.
        """
        if self.settings.worker != "none":
            self._start_worker(self.settings.worker)

    def _start_worker(self, mode: str) -> None:
        if self._worker is not None or self.settings.immediate:
            return
        from backend.services.worker.host import make_worker  # what runs a child: 10 ms that a command need not pay

        if mode == "thread" and Crashes(self.settings.run_dir).had_crash():
            mode = "process"
            self.notice = "after a crash, entries are read in a process of its own"
        self._worker = make_worker(self, mode)
        self._worker.start()

    def status(self) -> Status:
        """What goes on; never wakes a model."""
        # Where the worker is a child, or there is none, nobody else in this process looks.
        self.follow_settings()
        return snapshot(
            self.stores,
            reader=self.reader.value,
            own=self._work.state() if self._work else None,
            holder_pid=self.gate.holder_pid(),
            read_board=Board(self._client).read,
            own_pid=os.getpid(),
            notice=self.notice,
        )

    def typed(self) -> None:
        """Somebody has just pressed a key: where the settings say so, no model is loaded until they pause."""
        if not self.settings.load_while_typing:
            self._typing.note()

    def follow_settings(self) -> None:
        """Take up what was changed in charlie.toml about models since it was read last; costs one stat.

        What cannot be understood stops the instruct model where it may be about that: a server must get no entry that
        the person no longer wants it to have. Who asks while another takes them up waits for that.
        """
        with self._changing:
            stamp = self._settings_stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                self._take_up_settings()

    def _take_up_settings(self) -> None:
        try:
            written = load_settings(home=self.settings.home)
        except SettingsError as error:
            _log.warning("the settings are left as they were: %s", error)
            if self.settings.llm_url or (self.settings.has_llm and error.key in _FOLLOWED):
                self._refuse(str(error))
            return
        chosen = {key: getattr(written, key) for key in _FOLLOWED}
        is_mended, self._refused = bool(self._refused), ""
        if is_mended or any(getattr(self.settings, key) != value for key, value in chosen.items()):
            self.settings = self.settings.model_copy(update=chosen)
            if self._work is not None:
                self._work.use(self.settings)

    def _refuse(self, why: str) -> None:
        self._refused = why
        if self._work is not None:
            self._work.refuse(why)

    def _settings_stamp(self) -> tuple[int, int, int] | None:
        try:
            found = (self.settings.home / "charlie.toml").stat()
        except OSError:
            return None
        # The time alone is the same for two changes within 4 ms.
        return found.st_mtime_ns, found.st_size, found.st_ino

    def drain(self, on_progress: Callable[[DrainProgress], None]) -> DrainReport:
        """Have everything read that waits, here or by the worker that runs elsewhere.

        Returns when nothing waits any more, or nothing can be read.
        """
        started_s, rss_mb = time.monotonic(), [self.work.resident_mb()]
        tokens = self.work.manager.token_counts()
        ledger, tally = self.stores.ledger, self.work.reading.tally
        n_read, n_failed, n_dead = tally.read, tally.failed, ledger.count(EpisodeStatus.DEAD)
        total = ledger.count(*PENDING)
        problem = ""
        if total and self.settings.immediate:
            problem = "with immediate = true nothing reads by itself: unset CHARLIE_IMMEDIATE"
        elif total:
            # Whoever drains wants a worker, whatever the screen is to have.
            self._start_worker("thread" if self.settings.worker == "none" else self.settings.worker)
        while not problem and not self.stopping.wait(_DRAIN_STEP_S):
            status = self.status()
            rss_mb.append(self.work.resident_mb())
            total = max(total, status.pending)
            on_progress(DrainProgress(total - status.pending, total, status))
            problem = status.problem
            if self._worker is not None and not self._worker.is_alive():
                problem = f"the worker ended unexpectedly: the reason is in {self.settings.logs_dir}"
            if status.pending == 0:
                break
        pending, dead = ledger.count(*PENDING), ledger.count(EpisodeStatus.DEAD) - n_dead
        return DrainReport(
            # An entry may come and be read between two looks; one that another process read is not in the tally.
            read=max(tally.read - n_read, total - pending - dead),
            dead=dead,
            failed=tally.failed - n_failed,
            loads=self.work.manager.status().loads,
            seconds=time.monotonic() - started_s,
            pending=pending,
            tokens=self.work.manager.token_counts() - tokens,
            rss_mb_before=rss_mb[0],
            rss_mb_peak=max(rss_mb),
            rss_mb_after=self.work.resident_mb(),
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
            if abandon_worker:
                self._forgive_reading()
            elif self._work is not None:
                self._work.end()
            if self._is_open:
                self._is_open = False
                self._close_connections()
                unbind(self)
            self._server.close()
            self.drafts.close()

    def _forgive_reading(self) -> None:
        """Ended on purpose: the entry that is being read is not to blame for the marker it leaves."""
        if self.gate.is_held:
            Crashes(self.settings.run_dir).forget_leftover()

    def _close_connections(self) -> None:
        self.events.publish(Change(ChangeKind.WORKER))
        self.events.close()
        _disconnect_queue()
        self._client.close()

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


def bound() -> Runtime | None:
    """The bound Runtime, if there is one."""
    with _guard:
        return _slot[0] if _slot else None


def current() -> Runtime:
    """The bound Runtime; a script or `huey_consumer` that bound none gets one from the settings, closed at exit."""
    with _guard:
        if not _slot:
            runtime = Runtime(load_settings())
            runtime.open()
            atexit.register(runtime.close)
        return _slot[0]

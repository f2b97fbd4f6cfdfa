"""The parts of a running Charlie, built in order and closed in reverse."""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from backend.database.connection import client_of
from backend.database.lifecycle import EmbeddedServer, set_default_server
from backend.database.stores import Stores
from backend.domain import Change, ChangeKind, ReaderKind, Status
from backend.errors import StorageClosing, StorageUnavailable
from backend.services.drafts import Drafts
from backend.services.events import Events
from backend.services.following import Following
from backend.services.journal import JournalService
from backend.services.queue import WorkQueue
from backend.services.review import ReviewService
from backend.services.status import Board, snapshot
from backend.services.worker.conditions import Typing
from backend.services.worker.crashes import Crashes
from backend.services.worker.lock import WorkerGate
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.services.worker.host import Worker
    from backend.services.worker.session import WorkerSession


class Runtime:
    """Owns the server, the stores and the worker; thread-safe once open."""

    def __init__(self, settings: Settings, *, on_loading: Callable[[float], None] | None = None) -> None:
        """Opens nothing. `on_loading` gets 0 to 1 while the server loads a big journal."""
        self.stopping = threading.Event()
        self.queue = WorkQueue()
        self.drafts = Drafts(settings.drafts_dir)
        self.gate = WorkerGate(settings.run_dir)
        # The worker that runs for this process; None before one was started.
        self.worker: Worker | None = None
        # Something worth knowing that needs nothing done; empty as a rule.
        self.notice = ""
        self.is_open = False
        self._following = Following(settings)
        self._typing = Typing(settings.run_dir)
        self._server = EmbeddedServer(settings.home, on_loading=on_loading)
        self._client = client_of(self._server)
        self.stores = Stores(self._client)
        self.events = Events(self._client)
        self.journal = JournalService(self.stores, self.events, self._enqueue, default_journal=settings.journal)
        self.review = ReviewService(self.stores, self.events, self.journal)
        self._session: WorkerSession | None = None
        self._making = threading.Lock()
        self._closing = threading.Lock()

    def open(self) -> None:
        """Start or attach to the server. May be tried again.

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
        self.is_open = True

    def _refuse_when_closing(self) -> None:
        if self.stopping.is_set():
            self._server.close()
            raise StorageClosing("Charlie is closing: nothing was written")

    @property
    def settings(self) -> Settings:
        """The settings that this process goes by now."""
        return self._following.settings

    @property
    def session(self) -> "WorkerSession":
        """The worker's side; made when the first task or consumer asks."""
        with self._making:
            if self._session is None:
                self._session = self._following.attach(self._make_session)
            return self._session

    def _make_session(self, settings: Settings) -> "WorkerSession":
        from backend.services.worker.session import WorkerSession  # the manager: 60 ms that no screen needs

        return WorkerSession(
            settings, self._client, self.stores, self.events, self.gate, self.queue, self._following, self.stopping
        )

    @property
    def reader(self) -> ReaderKind:
        """Who has the last word on a new entry."""
        return ReaderKind.LLM if self.settings.has_llm else ReaderKind.TAGGER

    def employ(self, worker: "Worker") -> None:
        """Start `worker`, and stop it when this is closed."""
        self.worker = worker
        worker.start()

    def status(self) -> Status:
        """What goes on; never wakes a model."""
        # Where the worker is a child, or there is none, nobody else in this process looks.
        self.follow_settings()
        return snapshot(
            self.stores,
            reader=self.reader.value,
            own=self._session.state() if self._session else None,
            holder_pid=self.gate.holder_pid(),
            read_board=Board(self._client).read,
            own_pid=os.getpid(),
            notice=self.notice,
        )

    def follow_settings(self) -> None:
        """Take up what has changed in charlie.toml; see `Following.follow`."""
        self._following.follow()

    def typed(self) -> None:
        """Somebody has just pressed a key: where the settings say so, no model is loaded until they pause."""
        if not self.settings.load_while_typing:
            self._typing.note()

    def close(self) -> None:
        """Stop the worker, unload, let the server go. Idempotent.

        A worker thread that is still in native code after its time is left alone: freeing what it uses would
        end the process in a crash.
        """
        with self._closing:
            self.stopping.set()
            worker, self.worker = self.worker, None
            if worker is not None and not worker.stop():
                self._forgive_reading()
            elif self._session is not None:
                self._session.end()
            if self.is_open:
                self.is_open = False
                self._close_connections()
            self._server.close()
            self.drafts.close()

    def _forgive_reading(self) -> None:
        """Ended on purpose: the entry that is being read is not to blame for the marker it leaves."""
        if self.gate.is_held:
            Crashes(self.settings.run_dir).forget_leftover()

    def _close_connections(self) -> None:
        self.events.publish(Change(ChangeKind.WORKER))
        self.events.close()
        self.queue.disconnect()
        self._client.close()

    def _enqueue(self, uuid: str, journal: str, priority: int) -> None:
        self.queue.send(uuid, journal, priority, with_draft=self.reader is ReaderKind.LLM)

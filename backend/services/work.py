"""The worker's own side of a Runtime: the gate, the models, the reading, and what is done between tasks."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable

import redis

from backend.database.redis_ops import PENDING
from backend.database.stores import Stores
from backend.domain import Change, ChangeKind, ModelStatus
from backend.errors import StorageError
from backend.inference.manager import ModelManager, set_default_manager
from backend.services import recovery
from backend.services.crashes import Crashes
from backend.services.events import Events
from backend.services.gate import WorkerGate
from backend.services.reading import ReadingService
from backend.services.status import Board, WorkerState
from backend.settings import Settings

# Without a message for so long, the ledger is looked through for entries that lack one.
_LOOK_S = 60.0

_log = logging.getLogger(__name__)


class Work:
    """Everything a process needs to be the worker; built when the first task or the consumer asks."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        stores: Stores,
        events: Events,
        gate: WorkerGate,
        stopping: threading.Event,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._events = events
        self._gate = gate
        self._stopping = stopping
        self._board = Board(client)
        self._looked_at_s = 0.0
        self._n_loads = 0
        self.crashes = Crashes(settings.run_dir)
        self.manager = ModelManager(
            settings, has_work=self._has_work, on_change=self._on_model, stopping=stopping.is_set
        )
        set_default_manager(self.manager)
        self.reading = ReadingService(
            settings,
            stores,
            self.manager,
            events,
            self.crashes,
            wake=self._wake,
            next_up=self._next_up,
            on_change=self._on_change,
            stopping=stopping.is_set,
        )

    def begin(self) -> None:
        """Wait for the gate, then put right what a dead worker left. Runs in the consumer's worker thread."""
        if not self._gate.enter(self._wait):
            return
        leftover = self.crashes.take_leftover()
        self.crashes.watch()
        if leftover is not None:
            recovery.settle(leftover, self._stores, self.reading.give_up)
        self._stores.ledger.mend()
        recovery.drop_unacknowledged(self._stores)
        recovery.purge(self._stores, self._settings.keep_deleted_days)
        self.look()
        self._on_change()

    def end(self) -> None:
        """Unload and leave the gate. Idempotent."""
        self.manager.unload_all()
        if self._gate.is_held:
            self.crashes.unwatch()
            self._gate.leave()
            self._events.publish(Change(ChangeKind.WORKER))

    def look(self) -> int:
        """Send messages for entries that wait and have none; how many."""
        from backend.services import tasks  # huey costs 60 ms, and imports this package's runtime

        self._looked_at_s = time.monotonic()
        return recovery.wake_forgotten(
            self._stores,
            tasks.awaited(),
            self._wake,
            now_s=time.time(),
            stale_after_s=self._settings.stale_after_s,
        )

    def tick(self) -> None:
        """Now and then: try again what is paused, and look for what was forgotten. Cheap while nothing is due."""
        if not self._gate.is_held:
            return
        is_due_to_retry = bool(self.reading.problem) and not self.reading.is_paused()
        if is_due_to_retry or time.monotonic() - self._looked_at_s > _LOOK_S:
            try:
                self.look()
                if is_due_to_retry and (waiting := next(self._stores.ledger.entries(*PENDING), None)):
                    self._wake(waiting.uuid, waiting.journal, waiting.priority, 0.0)
            except StorageError as error:
                _log.warning("the database cannot be asked: %s", error)

    def use(self, settings: Settings) -> None:
        """Go on with other settings: the model they name is loaded at the next entry."""
        if settings.llm_path != self._settings.llm_path:
            self.crashes.forgive()
        self._settings = settings
        self.manager.use(settings)
        self.reading.use(settings)
        if self._gate.is_held:
            self.look()

    def state(self) -> WorkerState:
        """What this worker says of itself."""
        return WorkerState(os.getpid(), self.manager.status(), self.reading.reading_uuid, self.reading.problem)

    def _has_work(self) -> bool:
        return not self._stopping.is_set() and self.reading.has_work()

    def _wake(self, uuid: str, journal: str, priority: int, delay_s: float) -> None:
        from backend.services import tasks  # huey costs 60 ms, and imports this package's runtime

        tasks.send(uuid, journal, priority, delay_s)

    def _next_up(self, n_most: int) -> list[str]:
        from backend.services import tasks  # huey costs 60 ms, and imports this package's runtime

        return tasks.next_up(n_most)

    def _on_model(self, status: ModelStatus) -> None:
        if status.loads != self._n_loads:
            # What a model brought along stays, DSPy above all: looking it through would hold up a key by 30 ms.
            self._n_loads = status.loads
            gc.freeze()
        self._on_change()

    def _on_change(self) -> None:
        try:
            self._board.write(self.state())
        except StorageError as error:
            _log.debug("the worker's state could not be written: %s", error)
        self._events.publish(Change(ChangeKind.WORKER))

    def _wait(self, seconds: float) -> bool:
        consumer_stop = _consumer_stop_flag()
        return self._stopping.wait(seconds) or (consumer_stop is not None and consumer_stop())


def _consumer_stop_flag() -> Callable[[], bool] | None:
    """Whether `huey_consumer`'s consumer was told to stop; only the signal handler it installs leads to it."""
    consumer = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    flag = getattr(consumer, "stop_flag", None)
    return flag.is_set if flag is not None else None

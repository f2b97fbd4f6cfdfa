"""The worker's own side of a Runtime: the gate, the models, the reading, and what is done between tasks."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable

import redis

from backend.database.stores import Stores
from backend.domain import Change, ChangeKind, ModelState, ModelStatus
from backend.errors import StorageError
from backend.inference.loading import ModelLoader
from backend.inference.manager import ModelManager, set_default_manager
from backend.services.events import Events
from backend.services.following import Following
from backend.services.queue import WorkQueue
from backend.services.status import Board, WorkerState
from backend.services.worker import recovery
from backend.services.worker.crashes import Crashes, Leftover
from backend.services.worker.lock import WorkerGate
from backend.services.worker.runner import ReadingService
from backend.settings import Settings

# The ledger is looked through this often for entries that lack a message.
_LOOK_S = 60.0
# Each writing of the board is a sync to disk. While entries are read one after the other it may lag so far behind.
_BOARD_LAG_S = 0.25

_log = logging.getLogger(__name__)


class WorkerSession:
    """Everything a process needs to be the worker; built when the first task or the consumer asks."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        stores: Stores,
        events: Events,
        gate: WorkerGate,
        queue: WorkQueue,
        following: Following,
        stopping: threading.Event,
    ) -> None:
        self._queue = queue
        self._following = following
        self._settings = settings
        self._stores = stores
        self._events = events
        self._gate = gate
        self._stopping = stopping
        self._board = Board(client)
        self._told_at_s = 0.0
        self._is_board_late = False
        self._looked_at_s = 0.0
        self._leftover: Leftover | None = None
        self._has_begun = False
        # Kinds of model that have been loaded in this process.
        self._known_kinds: set[str] = set()
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
            queue,
            following,
            on_change=self._on_change,
            stopping=stopping.is_set,
        )

    def begin(self) -> None:
        """Wait for the gate, then put right what a dead worker left. Runs in the consumer's worker thread."""
        if not self._gate.enter(self._wait):
            return
        self._leftover = self.crashes.take_leftover()
        self.crashes.watch()
        self._put_right()

    def _put_right(self) -> None:
        if self._leftover is not None:
            if self._leftover.is_crash:
                ModelLoader(self._settings).be_careful()
            recovery.settle(self._leftover, self._stores, self.reading.give_up)
            self._leftover = None
        self._stores.ledger.mend()
        recovery.drop_unacknowledged(self._stores)
        recovery.purge(self._stores, self._settings.keep_deleted_days)
        self.look()
        self._has_begun = True
        self._on_change()

    def end(self) -> None:
        """Unload and leave the gate. Idempotent."""
        self.manager.unload_all()
        if self._gate.is_held:
            self.crashes.unwatch()
            self._gate.leave()
            self._events.publish(Change(ChangeKind.WORKER))

    def look(self) -> int:
        """Send messages for entries that wait and have none; how many. Raises StorageError."""
        self._looked_at_s = time.monotonic()
        return recovery.wake_forgotten(
            self._stores,
            self._queue,
            now_s=time.time(),
            stale_after_s=self._settings.stale_after_s,
        )

    def tick(self) -> None:
        """Now and then: try again what is paused, and look for what was forgotten. Cheap while nothing is due.

        Raises:
            StorageError: the database could not be asked; it will be at a later tick.
        """
        self._following.follow()
        if not self._gate.is_held:
            return
        if not self._has_begun:
            # The database could not be asked when this worker began.
            self._put_right()
        if self._is_board_late:
            self._write_board()
        is_due_to_retry = bool(self.reading.problem) and not self.reading.is_paused()
        if is_due_to_retry or time.monotonic() - self._looked_at_s > _LOOK_S:
            self.look()

    def use(self, settings: Settings) -> None:
        """Go on with other settings: the model they name is loaded at the next entry. Raises StorageError."""
        self._settings = settings
        # First, so that nobody asks the former model or server again.
        self.manager.use(settings)
        self.reading.use(settings)
        if self._gate.is_held:
            self._on_change()
            self.look()

    def refuse(self, why: str) -> None:
        """Use no instruct model until `use`: one that reads now is stopped, and its entries wait. Nothing is sent."""
        self.manager.withdraw("llm")
        self.reading.refuse(why)
        if self._gate.is_held:
            self._on_change()

    def resident_mb(self) -> float:
        """Memory of this process that is in RAM, MiB."""
        return self.manager.status().resident_mb

    def state(self) -> WorkerState:
        """What this worker says of itself."""
        return WorkerState(os.getpid(), self.manager.status(), self.reading.reading_uuid, self.reading.problem)

    def _has_work(self) -> bool:
        return not self._stopping.is_set() and self.reading.has_work()

    def _on_model(self, status: ModelStatus) -> None:
        if status.state is ModelState.BUSY and status.kind not in self._known_kinds:
            # What the first load imported stays, DSPy above all: looking it through would hold up a key by 30 ms.
            # Once a kind only, because what is frozen and goes round in a circle is never freed.
            self._known_kinds.add(status.kind)
            gc.freeze()
        is_reading_on = status.state in (ModelState.BUSY, ModelState.READY)
        self._on_change(may_lag=is_reading_on)

    def _on_change(self, *, may_lag: bool = False) -> None:
        if may_lag and time.monotonic() - self._told_at_s < _BOARD_LAG_S:
            self._is_board_late = True
        else:
            self._write_board()
        self._events.publish(Change(ChangeKind.WORKER))

    def _write_board(self) -> None:
        self._told_at_s, self._is_board_late = time.monotonic(), False
        try:
            self._board.write(self.state())
        except StorageError as error:
            _log.debug("the worker's state could not be written: %s", error)

    def _wait(self, seconds: float) -> bool:
        consumer_stop = _consumer_stop_flag()
        return self._stopping.wait(seconds) or (consumer_stop is not None and consumer_stop())


def _consumer_stop_flag() -> Callable[[], bool] | None:
    """Whether `huey_consumer`'s consumer was told to stop; only the signal handler it installs leads to it."""
    consumer = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    flag = getattr(consumer, "stop_flag", None)
    return flag.is_set if flag is not None else None

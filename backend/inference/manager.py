"""Decides what is resident: loads at the first need, holds under a lease, unloads by the event that nothing waits.

Big models are exclusive, or as many as `max_loaded` stay; small ones stay beside them. A model is in one state at a
time; whoever moves it into LOADING or UNLOADING does so alone, outside the lock, while the others wait. So a burst
loads once, an arrival during an unload waits and loads again, and two copies never are.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from backend.domain import ModelState, ModelStatus, TokenCounts
from backend.errors import CharlieError, InferenceError, ModelTooLarge, Stopped
from backend.inference.loader import Kind
from backend.inference.loading import Loaded, ModelLoader, model_name, model_size_bytes
from backend.inference.memory import available_bytes, give_back, resident_mb
from backend.inference.residency import MOVING, Slot, idle_big, in_the_way, outdated, shown, with_progress
from backend.settings import Settings, load_settings

logger = logging.getLogger(__name__)

KINDS: Final[tuple[Kind, ...]] = ("llm", "tagger", "embedding", "reranker")
# How often somebody who waits for a model looks whether they should stop, seconds.
_LOOK_EVERY_S: Final = 0.1
# Progress is told at every such part of a load.
_PROGRESS_STEP: Final = 0.05


class ModelManager:
    """Owns the models of a process; every method may be called from any thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        has_work: Callable[[], bool],
        on_change: Callable[[ModelStatus], None] | None = None,
        stopping: Callable[[], bool] | None = None,
        available_bytes: Callable[[], int] = available_bytes,
    ) -> None:
        """`has_work` says whether a model is worth holding; `on_change` is called in the thread that changed it."""
        self._available_bytes = available_bytes
        self._settings = settings
        self._has_work = has_work
        self._on_change = on_change
        self._stopping = stopping or (lambda: False)
        self._changed = threading.Condition()
        # By kind, what the settings ask for; and big models that former settings asked for, while there is room.
        self._slots = {kind: Slot(kind) for kind in KINDS}
        self._parked: list[Slot] = []
        self._loads = 0
        # Kinds that may not be used until the settings say which they should be.
        self._withdrawn: set[Kind] = set()
        # By models that have been unloaded.
        self._counted = TokenCounts()

    @contextmanager
    def lease(self, kind: Kind) -> Iterator[Any]:
        """The Tagger, DspyLM, Embedder or Reranker, loaded if it must be, and held as long as the block lasts.

        Raises:
            WeightsMissing, WeightsUnusable, ModelTooLarge: it cannot be loaded now; tried again at the next lease.
            Stopped: `stopping` said so.
        """
        slot, loaded = self._acquire(kind)
        try:
            self._tell()
            yield loaded.reader
        finally:
            with self._changed:
                slot.leases -= 1
                self._changed.notify_all()
            self._tell()

    def get(self, kind: Kind) -> Any:
        """The loaded object without a lease: it may be unloaded at any time, and then says so when used."""
        with self.lease(kind) as reader:
            return reader

    def cleanup_if_no_work(self) -> bool:
        """Unload everything when nothing waits and no lease is out; whether that was done.

        `has_work` is read once all doors are shut: who arrives later waits for the unload and loads again.
        """
        with self._changed:
            if self._settings.keep_loaded or not self._is_quiet():
                return False
            slots = self._shut()
        if not slots:
            return False
        is_needed = True
        try:
            is_needed = self._has_work()
        finally:
            if is_needed:
                self._reopen(slots)
        if is_needed:
            return False
        self._free(slots)
        return True

    def unload_all(self, timeout_s: float = 10.0) -> bool:
        """Unload everything as soon as the leases that are out have ended; False when they did not in time."""
        with self._changed:
            if not self._changed.wait_for(self._is_quiet, timeout_s):
                return False
            slots = self._shut()
        self._free(slots)
        return True

    def use(self, settings: Settings) -> None:
        """Go on with other settings; models that were loaded with others are unloaded once they are free."""
        self._settings = settings
        self._withdrawn.clear()
        with self._changed:
            slots = outdated(filter(self._is_stale, self._all()), settings.max_loaded)
            self._doom(slots)
            for slot in self._slots.values():
                if slot.state is ModelState.FAILED:
                    # It failed under the former settings.
                    slot.state, slot.problem = ModelState.UNLOADED, ""
        self._free(slots)

    def withdraw(self, kind: Kind) -> None:
        """Let nobody use `kind` until `use`: what it is at ends with Stopped within a second, and so does what comes.

        Of the small models only the loading is stopped.
        """
        self._withdrawn.add(kind)

    def status(self) -> ModelStatus:
        """What is going on; costs 0.05 ms, waits for nothing, loads nothing."""
        with self._changed:
            slot = shown(self._slots.values())
            state, loads, progress, loaded = slot.shown_state, self._loads, slot.progress, slot.loaded
        is_known = state is not ModelState.UNLOADED
        status = ModelStatus(
            state=state,
            name=model_name(self._settings, slot.kind) if is_known else "",
            kind=slot.kind if is_known else "",
            loads=loads,
            resident_mb=resident_mb(),
            progress=progress,
            context_tokens=loaded.model.n_ctx_tokens if loaded else 0,
            parallel=loaded.n_parallel if loaded else 0,
        )
        return with_progress(status, loaded.progress() if loaded and state is ModelState.BUSY else None)

    def token_counts(self) -> TokenCounts:
        """What the models of this process have read and written since it began."""
        with self._changed:
            resident = (slot.loaded for slot in self._all() if slot.loaded)
            return sum((loaded.count_tokens() for loaded in resident), self._counted)

    def problem(self, kind: Kind) -> str:
        """Why the last load of `kind` failed; empty where it did not."""
        with self._changed:
            return self._slots[kind].problem

    def loaded(self) -> dict[Kind, Any]:
        """What is ready now, by kind."""
        with self._changed:
            return {
                slot.kind: slot.loaded.reader
                for slot in self._slots.values()
                if slot.loaded and slot.state is ModelState.READY
            }

    def _acquire(self, kind: Kind) -> tuple[Slot, Loaded]:
        while True:
            with self._changed:
                slot = self._settled(kind)
                if slot.loaded is not None and (slot.leases or not self._is_stale(slot)):
                    # Others may still use a stale one: the new settings wait for them.
                    slot.leases, slot.used_s = slot.leases + 1, time.monotonic()
                    return slot, slot.loaded
                if slot.loaded is None:
                    slot.size_bytes = model_size_bytes(self._settings, kind)
                leaving = in_the_way(self._all(), slot, self._settings.max_loaded)
                self._doom(leaving)
                if not leaving:
                    slot.state, slot.progress = ModelState.LOADING, 0.0
            if leaving:
                self._free(leaving)
                continue
            try:
                return slot, self._load(slot)
            except ModelTooLarge:
                # It may fit without the big ones that stayed beside it.
                with self._changed:
                    leaving = idle_big(self._all()) if slot.is_big else []
                    self._doom(leaving)
                if not leaving:
                    raise
                self._free(leaving)

    def _settled(self, kind: Kind) -> Slot:
        """The slot of what the settings ask for, once nothing moves that it would have to wait for. Raises Stopped."""
        while True:
            slot = self._slots[kind]
            is_wanted = slot.loaded is not None and not self._is_stale(slot)
            if slot.state not in MOVING and (is_wanted or not self._is_moving()):
                break
            if self._stopping():
                raise Stopped
            self._changed.wait(_LOOK_EVERY_S)
        if is_wanted or slot.leases or not slot.is_big or (slot.loaded and self._settings.max_loaded == 1):
            return slot
        if slot.loaded is not None:
            self._parked.append(slot)
            slot = self._slots[kind] = Slot(kind)
        fitting = (other for other in self._parked if other.kind == kind and not self._is_stale(other))
        found = next(fitting, None)
        if found is not None:
            self._parked.remove(found)
            self._slots[kind] = found
        return self._slots[kind]

    def _load(self, slot: Slot) -> Loaded:
        loaded: Loaded | None = None
        problem = "the load was interrupted"
        settings = self._settings

        def is_stopped() -> bool:
            # What the settings name no more may load and read on, but a server: it is sent nothing more.
            is_taken_back = slot.kind == "llm" and settings.llm_url not in (None, self._settings.llm_url)
            return is_taken_back or self._is_stopped(slot.kind)

        try:
            self._tell()
            # What it has in work is looked up in `status`: here it only says that it is worth looking.
            loader = ModelLoader(settings, is_stopped, self._available_bytes, lambda _progress: self._tell())
            loaded = loader.load(slot.kind, lambda done: self._progressed(slot, done))
        except InferenceError as error:
            problem = str(error)
            raise
        except Stopped:
            problem = ""
            raise
        finally:
            with self._changed:
                slot.loaded, slot.problem = loaded, "" if loaded else problem
                slot.state = ModelState.READY if loaded else ModelState.FAILED if problem else ModelState.UNLOADED
                slot.leases, slot.used_s = slot.leases + (1 if loaded else 0), time.monotonic()
                self._loads += 1 if loaded else 0
                slot.progress = 1.0 if loaded else 0.0
                self._changed.notify_all()
            if not loaded:
                self._tell()
        return loaded

    def _progressed(self, slot: Slot, done: float) -> bool:
        with self._changed:
            is_step = done - slot.progress >= _PROGRESS_STEP
            slot.progress = done if is_step else slot.progress
        if is_step:
            self._tell()
        return not self._is_stopped(slot.kind)

    def _is_stopped(self, kind: Kind) -> bool:
        return self._stopping() or kind in self._withdrawn

    def _is_stale(self, slot: Slot) -> bool:
        return slot.loaded is not None and slot.loaded.made_for != ModelLoader(self._settings).key(slot.kind)

    def _is_moving(self) -> bool:
        return any(slot.state in MOVING for slot in self._all())

    def _is_quiet(self) -> bool:
        return not self._is_moving() and not any(slot.leases for slot in self._all())

    def _shut(self) -> list[Slot]:
        """Shut the doors of everything that is loaded; the caller opens them again, or frees what is behind."""
        slots = [slot for slot in self._all() if slot.state is ModelState.READY]
        self._doom(slots)
        return slots

    def _all(self) -> list[Slot]:
        return [*self._slots.values(), *self._parked]

    def _doom(self, slots: list[Slot]) -> None:
        for slot in slots:
            slot.state = ModelState.UNLOADING

    def _reopen(self, slots: list[Slot]) -> None:
        with self._changed:
            for slot in slots:
                slot.state = ModelState.READY
            self._changed.notify_all()

    def _free(self, slots: list[Slot]) -> None:
        if not slots:
            return
        self._tell()
        for slot in slots:
            with self._changed:
                loaded, slot.loaded = slot.loaded, None
                self._counted += loaded.count_tokens() if loaded else TokenCounts()
            if loaded:
                loaded.model.close()
            del loaded
        give_back()
        with self._changed:
            for slot in slots:
                slot.state, slot.progress = ModelState.UNLOADED, 0.0
            self._parked = [slot for slot in self._parked if slot.state is not ModelState.UNLOADED]
            self._changed.notify_all()
        self._tell()

    def _tell(self) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(self.status())
        except CharlieError as error:  # who cannot be told must not keep a model from being freed
            logger.warning("a change of the model could not be told: %s", error)


class _Default:
    """The one process-wide instance that the functions below use; filled and cleared by whoever runs Charlie."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._manager: ModelManager | None = None

    def get(self) -> ModelManager:
        with self._lock:
            if self._manager is None:
                self._manager = ModelManager(load_settings(), has_work=lambda: False)
            return self._manager

    def put(self, manager: ModelManager | None) -> None:
        with self._lock:
            self._manager = manager

    def peek(self) -> ModelManager | None:
        with self._lock:
            return self._manager


_DEFAULT: Final = _Default()


class _LiveModels(Mapping[str, dict[str, Any]]):
    """What the default manager holds at the moment it is asked."""

    def __getitem__(self, kind: str) -> dict[str, Any]:
        if kind not in KINDS:
            raise KeyError(kind)
        manager = _DEFAULT.peek()
        return {"model": manager.loaded().get(kind) if manager else None}

    def __iter__(self) -> Iterator[str]:
        return iter(KINDS)

    def __len__(self) -> int:
        return len(KINDS)


# Kind to `{"model": loaded object or None}`. Looking never loads.
MODELS: Final = _LiveModels()


def default_manager() -> ModelManager:
    """The process-wide manager; one over the settings, with no queue to wait for, where none was set."""
    return _DEFAULT.get()


def set_default_manager(manager: ModelManager | None) -> None:
    """Make `manager` the process-wide one, or none; the caller unloads what the former one holds."""
    _DEFAULT.put(manager)


def get_model(kind: Kind) -> Any:
    """The Tagger, DspyLM, Embedder or Reranker of the process-wide manager, loaded if it must be."""
    return default_manager().get(kind)


def unload_all_models() -> None:
    """Unload what the process-wide manager holds; a call in progress is waited for."""
    manager = _DEFAULT.peek()
    if manager:
        manager.unload_all()


def cleanup_if_no_work() -> bool:
    """Unload what the process-wide manager holds when nothing waits; whether that was done."""
    manager = _DEFAULT.peek()
    return manager.cleanup_if_no_work() if manager else False

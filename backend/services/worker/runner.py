"""Read one entry: which reader, under which lease, and what becomes of the entry when it goes wrong."""

import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from backend.database.redis_ops import PENDING, Fields
from backend.database.stores import Stores
from backend.domain import (
    Change,
    ChangeKind,
    EpisodeStatus,
    LedgerEntry,
    ReaderKind,
    ReadingOutcome,
)
from backend.errors import (
    EpisodeNotFound,
    InferenceError,
    ReadingDeferred,
    ReadingFailed,
    ReadingUnavailable,
    Stopped,
    StorageError,
    WeightsUnusable,
)
from backend.graph.extract_nodes import Reader, extract_nodes
from backend.graph.split import TextLimit
from backend.inference.manager import ModelManager
from backend.services.events import Events
from backend.services.following import Following
from backend.services.queue import WorkQueue
from backend.services.worker import policy
from backend.services.worker.conditions import conditions
from backend.services.worker.crashes import Crashes
from backend.settings import TAGGER_PATH, Settings

_log = logging.getLogger(__name__)

type Outcome = dict[str, object]
ALREADY: Outcome = {"already_processed": True}
# A day more or less of fourteen is nothing, and reading a long backlog is work.
_LOOK_FOR_OLD_EVERY_S = 3600.0


@dataclass(slots=True)
class Tally:
    """What this process has read since it began."""

    read: int = 0
    failed: int = 0
    dead: int = 0


class ReadingService:
    """Reads entries, one at a time, in whichever thread calls; one instance a process."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        manager: ModelManager,
        events: Events,
        crashes: Crashes,
        queue: WorkQueue,
        following: Following,
        *,
        on_change: Callable[..., None],
        stopping: Callable[[], bool],
    ) -> None:
        """`on_change(may_lag=...)` is called when an entry has been read, or when `problem` changes.

        A reading that begins is told by the manager, whose lease it takes.
        """
        self._settings = settings
        self._stores = stores
        self._manager = manager
        self._events = events
        self._crashes = crashes
        self._queue = queue
        self._following = following
        self._on_change = on_change
        self._stopping = stopping
        self._conditions = conditions(settings.run_dir)
        self._turn = threading.Lock()
        self._retry_at_s = self._looks_again_s = 0.0
        # Why the instruct model may not be used whatever it could do; empty while it may.
        self._refused = ""
        # The weights file as it was when reading was paused.
        self._paused_over: tuple[int, int] | None = None
        self._tallying = threading.Lock()
        # Entries that are being read, the one that was begun first in front.
        self.in_work: list[str] = []
        self.tally = Tally()
        # Why no entry can be read and what to do; empty while all is well.
        self.problem = ""

    @property
    def reader(self) -> ReaderKind:
        """Who has the last word on a new entry."""
        return ReaderKind.LLM if self._settings.has_llm else ReaderKind.TAGGER

    @property
    def reading_uuid(self) -> str:
        """The entry that is being read, of several the one that was begun first; empty for none."""
        in_work = self.in_work
        return in_work[0] if in_work else ""

    def is_paused(self) -> bool:
        """Whether reading waits: until a while has passed, the weights file changes or the settings do."""
        is_early = bool(self.problem) and time.monotonic() < self._retry_at_s
        return is_early and self._weights_state() == self._paused_over

    def use(self, settings: Settings) -> None:
        """Go on with other settings, a new model say, and try at once what was paused or refused."""
        self._settings = settings
        self._retry_at_s = 0.0
        if self._refused:
            # Mended: it must not stand there until the next entry is written.
            self._refused = self.problem = ""

    def refuse(self, why: str) -> None:
        """Read nothing with the instruct model until `use`; for settings that cannot be understood any more."""
        self._refused = self.problem = why
        self._retry_at_s = math.inf
        self._paused_over = self._weights_state()

    def has_work(self) -> bool:
        """Whether a model is worth holding: something is due soon and can be read."""
        due_by_s = time.time() + policy.HOLD_S
        return not self.is_paused() and self._stores.ledger.count(EpisodeStatus.PENDING_NODES, due_by_s=due_by_s) > 0

    def draft(self, uuid: str, journal: str) -> Outcome:
        """Put the tagger's reading in place until the LLM's replaces it."""
        with self._turn:
            entry = self._due(uuid)
            if entry is None or self.reader is ReaderKind.TAGGER:
                return ALREADY
            return self._guarded(entry, lambda: self._draft(entry))

    def read(self, uuid: str, journal: str) -> Outcome:
        """Read an entry if it still waits; counts, or why not. Raises StorageError only.

        One of: `{"episode_uuid", "extracted_count", "new_entities", "resolved_count"}`,
        `{"already_processed": True}`, `{"stopped": True}`, `{"unavailable": why}`, `{"failed": why, "retry_in_s": s}`,
        `{"dead": why}`.
        """
        # Here too, not only now and then: nothing is read by settings that have been taken back.
        self._following.follow()
        with self._turn:
            entry = self._due(uuid)
            if entry is None:
                return ALREADY
            together = [self._drafted(waiting) for waiting in (entry, *self.companions(entry))]
            outcome = self._read_together(together)[0]
        self._manager.cleanup_if_no_work()
        return outcome

    def companions(self, first: LedgerEntry) -> list[LedgerEntry]:
        """The next few that wait, to be decoded together with the first; their own messages then find nothing to do.

        Nobody goes along with an entry that the process died on: if it dies again, it is known of what.
        """
        if self.reader is ReaderKind.TAGGER or first.crashes or first.kills:
            return []
        n_more = self._settings.n_parallel - 1
        due = (self._due(uuid) for uuid in self._queue.next_up(n_more) if uuid != first.uuid) if n_more else ()
        return [entry for entry in due if entry is not None and not entry.crashes and not entry.kills]

    def _read_together(self, entries: Sequence[LedgerEntry]) -> list[Outcome]:
        if len(entries) == 1:
            return [self._guarded(entries[0], lambda: self._read(entries[0]))]
        with ThreadPoolExecutor(len(entries), "reading") as pool:
            return list(pool.map(lambda entry: self._guarded(entry, lambda: self._read(entry)), entries))

    def _due(self, uuid: str) -> LedgerEntry | None:
        entry = self._stores.ledger.get(uuid)
        if entry is None or entry.status is not EpisodeStatus.PENDING_NODES or entry.due_at_s > time.time():
            return None
        return entry

    def _guarded(self, entry: LedgerEntry, action: Callable[[], Outcome]) -> Outcome:
        self._note(entry.uuid, is_begun=True)
        try:
            return action()
        except Stopped:
            return {"stopped": True}
        except EpisodeNotFound:
            # Its node was never written, so it was never acknowledged; or it has been deleted.
            self._stores.ledger.remove(entry.uuid)
            return ALREADY
        except ReadingUnavailable as error:
            return self._pause(entry, error)
        except InferenceError as error:
            return self._failed(entry, error)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect: Huey would log its words, and the entry wait for ever
            return self._failed(entry, ReadingFailed(_place_of(error)))
        finally:
            self._note(entry.uuid, is_begun=False)
            self._on_change(may_lag=True)

    def _read(self, entry: LedgerEntry) -> Outcome:
        if self.reader is ReaderKind.LLM:
            if self.is_paused():
                return {"unavailable": self.problem}
            outcome = self._read_with_llm(entry)
        else:
            outcome = self._read_with_tagger(entry, is_draft=False)
        self._go_on()
        if not outcome.is_written or not self._stores.ledger.finish(entry.uuid, entry.revision):
            # Saved again meanwhile: the newer revision has its own message.
            return ALREADY
        with self._tallying:
            self.tally.read += 1
        self._events.publish(Change(ChangeKind.READ, entry.uuid, entry.journal))
        _log.info("read %s: %d entities, %d new", entry.uuid, outcome.n_entities, outcome.n_new)
        return {
            "episode_uuid": entry.uuid,
            "extracted_count": outcome.n_entities,
            "new_entities": outcome.n_new,
            "resolved_count": outcome.n_known,
        }

    def _drafted(self, entry: LedgerEntry) -> LedgerEntry:
        is_missing = entry.drafted_revision != entry.revision or not entry.revision
        if self.reader is ReaderKind.LLM and is_missing:
            self._guarded(entry, lambda: self._draft(entry))
            return replace(entry, drafted_revision=entry.revision)
        return entry

    def _draft(self, entry: LedgerEntry) -> Outcome:
        if self._read_with_tagger(entry, is_draft=True).is_written:
            self._events.publish(Change(ChangeKind.READ, entry.uuid, entry.journal))
        return {"drafted": True}

    def _read_with_tagger(self, entry: LedgerEntry, *, is_draft: bool) -> ReadingOutcome:
        with self._manager.lease("tagger") as tagger:
            return self._extract(entry, tagger, is_draft=is_draft)

    def _read_with_llm(self, entry: LedgerEntry) -> ReadingOutcome:
        from backend.graph.llm_reader import LlmReader  # dspy costs 0.6 s and 49 MB

        if self._refused:
            raise ReadingUnavailable(self._refused)
        self._conditions.check(self._settings, is_loaded="llm" in self._manager.loaded())
        with self._manager.lease("llm") as lm:
            reader = LlmReader(lm, lm.weights, n_failed=entry.attempts)
            return self._extract(entry, reader, is_draft=False, limit=reader.limit)

    def _extract(
        self, entry: LedgerEntry, reader: Reader, *, is_draft: bool, limit: TextLimit | None = None
    ) -> ReadingOutcome:
        weights = reader.provenance.weights
        if self._crashes.are_unusable(weights):
            is_tagger = reader.provenance.reader is ReaderKind.TAGGER
            path = TAGGER_PATH if is_tagger else self._settings.llm_path or self._settings.models_dir
            raise WeightsUnusable(path, "reading two different entries with it crashed")
        episode = self._stores.episodes.get(entry.uuid, entry.journal)
        with self._crashes.marked(entry.uuid, weights):
            return extract_nodes(
                episode,
                reader,
                self._stores,
                revision=entry.revision,
                is_draft=is_draft,
                stopping=self._stopping,
                limit=limit,
                review_below=self._settings.review_below,
            )

    def _pause(self, entry: LedgerEntry, error: ReadingUnavailable) -> Outcome:
        if self._refused:
            # A reading that was under way may fail otherwise meanwhile; that is not what is wrong.
            error = ReadingUnavailable(self._refused)
        retry_s = error.retry_s if isinstance(error, ReadingDeferred) else policy.PAUSE_S
        is_news, self.problem = self.problem != str(error), str(error)
        now_s = time.monotonic()
        with self._tallying:
            # Of several that were tried together, the first looks after the others.
            is_first, self._retry_at_s = now_s >= self._retry_at_s, now_s + retry_s
        self._paused_over = self._weights_state()
        if is_news:
            _log.warning("reading is paused: %s", error)
        self._on_change()
        if isinstance(error, ReadingDeferred):
            return {"unavailable": self.problem}
        if is_first:
            self._give_up_the_oldest()
        return self._given_up_if_old(entry) or {"unavailable": self.problem}

    def _give_up_the_oldest(self) -> None:
        """Set aside whatever has waited too long for a model, tried now or not; looked for once an hour."""
        if time.monotonic() < self._looks_again_s:
            return
        self._looks_again_s = time.monotonic() + _LOOK_FOR_OLD_EVERY_S
        for entry in list(self._stores.ledger.entries(*PENDING)):
            if entry.uuid not in self.in_work:
                self._given_up_if_old(entry)

    def _given_up_if_old(self, entry: LedgerEntry) -> Outcome | None:
        decision = policy.after_unavailability(entry.created_at_s, time.time(), self.problem)
        return self.give_up(entry, decision.reason) if isinstance(decision, policy.GiveUp) else None

    def _go_on(self) -> None:
        if self.problem and not self._refused:
            self.problem = ""
            self._on_change()
            for entry in self._stores.ledger.entries(*PENDING):
                self._queue.send(entry.uuid, entry.journal, entry.priority, 0.0)

    def _failed(self, entry: LedgerEntry, error: InferenceError) -> Outcome:
        n_attempts = entry.attempts + 1
        _log.warning("reading %s failed (%d): %s", entry.uuid, n_attempts, error)
        with self._tallying:
            self.tally.failed += 1
        decision = policy.after_failure(n_attempts, str(error))
        if isinstance(decision, policy.GiveUp):
            return self.give_up(entry, decision.reason, attempts=n_attempts)
        due_at_s = time.time() + decision.delay_s
        fields: Fields = {"attempts": n_attempts, "reason": str(error)}
        self._stores.ledger.move(entry.uuid, EpisodeStatus.PENDING_NODES, due_at_s=due_at_s, fields=fields)
        self._queue.send(entry.uuid, entry.journal, entry.priority, decision.delay_s)
        self._events.publish(Change(ChangeKind.QUEUED, entry.uuid, entry.journal))
        return {"failed": str(error), "retry_in_s": decision.delay_s}

    def give_up(self, entry: LedgerEntry, reason: str, **fields: int) -> Outcome:
        """Set an entry aside with the reason; the person may have it tried again."""
        with self._tallying:
            self.tally.dead += 1
        self._stores.ledger.move(entry.uuid, EpisodeStatus.DEAD, fields={"reason": reason, **fields})
        self._events.publish(Change(ChangeKind.QUEUED, entry.uuid, entry.journal))
        return {"dead": reason}

    def _note(self, uuid: str, *, is_begun: bool) -> None:
        with self._tallying:
            others = [other for other in self.in_work if other != uuid]
            self.in_work = [*others, uuid] if is_begun else others

    def _weights_state(self) -> tuple[int, int] | None:
        """Size and time of change of the file that reads; None while it is not there."""
        try:
            found = (self._settings.llm_path or TAGGER_PATH).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def _place_of(error: Exception) -> str:
    """What kind of defect, and where; its own words may quote the entry."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    return f"{type(error).__name__} at {where}"

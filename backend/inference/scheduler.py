"""Decodes many requests together: the one thread that is inside llama.cpp, and what it does next.

Each step is one `llama_decode`: what follows of every answer, and a piece of the prompts that are still read. A
request that ends makes room for the next one at once. What goes wrong with one is handed to it alone.
"""

import logging
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from backend.errors import InferenceError, ReadingFailed, Stopped
from backend.inference.batch import TokenBatch
from backend.inference.bindings import bindings
from backend.inference.cells import Cells
from backend.inference.kept import KeptPrefixes
from backend.inference.loader import LLM_BATCH, LoadedModel
from backend.inference.prefix import PrefixStore
from backend.inference.progress import Progress, Pulse, Usual, together
from backend.inference.sequences import Logits, Request, Track
from backend.inference.stop_flag import StopFlag

logger = logging.getLogger(__name__)

# What llama_decode returns when the flag was set.
_ABORTED: Final = 2


@dataclass(frozen=True, slots=True)
class EngineTotals:
    """What an engine has done since it was made, requests that failed included."""

    # Tokens of prompts; those of them that had been read before; tokens of answers.
    tokens_prompt: int = 0
    tokens_reused: int = 0
    tokens_generated: int = 0
    # Calls into llama.cpp.
    steps: int = 0


@dataclass(frozen=True, slots=True)
class _Row:
    """A part of a step: tokens of one sequence."""

    track: Track
    tokens: list[int]
    # Where in the batch its last token is, if what follows it is wanted; else -1.
    output: int


class Scheduler:
    """Takes requests from any thread and decodes them in its own, from its making to `close`."""

    def __init__(self, model: LoadedModel, store: PrefixStore | None) -> None:
        self.n_parallel = model.settings.n_sequences
        # Of all that is in work, a few times a second anew; None while nothing is.
        self.progress: Progress | None = None
        self._model = model
        self._api = bindings()
        self._cells = Cells(model)
        self._kept = KeptPrefixes(self._cells, store, first_number=self.n_parallel, can_be_cut=model.can_be_cut)
        # No more than llama.cpp takes, which is less where the context is small.
        self._n_batch = min(LLM_BATCH, int(self._api.llama_n_batch(model.context)))
        self._batch = TokenBatch(self._n_batch)
        self._stop = StopFlag(model)
        self._changed = threading.Condition()
        self._inbox: deque[Request] = deque()
        self._is_closing = False
        # From here on the thread's own.
        self._waiting: list[Request] = []
        self._running: list[Track] = []
        self._free = list(range(self.n_parallel))[::-1]
        self._usual = Usual()
        self._pulse = Pulse()
        self._totals = EngineTotals()
        self._thread = threading.Thread(target=self._run, name="charlie-decoder", daemon=True)
        self._thread.start()

    @property
    def totals(self) -> EngineTotals:
        """What has been done so far."""
        return self._totals

    def submit(self, request: Request) -> None:
        """Put `request` in the queue; its future is settled later. Raises InferenceError after `close`."""
        with self._changed:
            if self._is_closing:
                raise _unloaded()
            self._inbox.append(request)
            self._changed.notify_all()

    def cancel(self, request: Request) -> None:
        """Let go of `request`; a step in progress ends within milliseconds where a CPU does the work."""
        with self._changed:
            request.is_cancelled = True
            self._stop.set()
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread; whoever still waits gets InferenceError. A second call does nothing."""
        with self._changed:
            self._is_closing = True
            self._stop.set()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while self._has_work():
            try:
                with self._model.lock:
                    self._admit()
                    self._step()
            # Whatever went wrong, nobody may wait for ever; its words may quote an entry.
            except Exception as error:  # noqa: BLE001 - see above
                logger.error("decoding failed: %s", type(error).__name__)
                self._give_up(ReadingFailed(f"decoding failed ({type(error).__name__})"))
        self._give_up(_unloaded())
        self.progress = None

    def _has_work(self) -> bool:
        """Wait until there is something to do; False when there will not be again."""
        if not (self._waiting or self._running):
            self.progress = None
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._inbox or self._waiting or self._running)
            # Before anybody is asked whether they are cancelled: who comes later sets it again.
            self._stop.clear()
            self._waiting.extend(self._inbox)
            self._inbox.clear()
            return not self._is_closing

    def _admit(self) -> None:
        """Drop what was cancelled, and begin as many of the waiting as there is room for, first come first served."""
        for track in [track for track in self._running if track.request and track.request.is_cancelled]:
            self._end(track, Stopped())
        for request in [request for request in self._waiting if request.is_cancelled]:
            self._waiting.remove(request)
            request.fail(Stopped())
        for request in list(self._waiting):
            if not self._begin(request):
                break

    def _begin(self, request: Request) -> bool:
        """Start `request`, or have read what it begins with; False when it has to wait for room."""
        if not self._free:
            return False
        n_shared = self._kept.shared_length(request)
        prefix = request.prefix or (self._kept.get(request.fixed) if n_shared else None)
        n_needed = len(request.prompt) + request.max_tokens - n_shared
        n_new = len(request.fixed) if n_shared and prefix is None else 0
        if not self._make_room(n_needed + n_new, prefix):
            if self._running:
                return False
            self._drop_prefixes()
            prefix, n_shared, n_needed = None, 0, len(request.prompt) + request.max_tokens
        elif n_new:
            prefix = self._kept.begin(request.fixed, self._in_use())
            request.reads_prefix = prefix is not None and bool(prefix.unread)
        if prefix is None and n_shared:
            n_shared, n_needed = 0, len(request.prompt) + request.max_tokens
        request.prefix = prefix
        if prefix is not None and prefix.unread:
            request.pace.begin(len(prefix.held))
        else:
            self._start(request, n_shared, n_needed)
        return True

    def _start(self, request: Request, n_shared: int, n_reserved: int) -> None:
        self._waiting.remove(request)
        track = Track(self._free.pop(), request.prompt[n_shared:], request=request, n_reserved=n_reserved)
        if request.prefix is not None:
            self._cells.share(request.prefix.number, track.number, n_shared)
            track.held = request.prompt[:n_shared]
        request.n_reused = 0 if request.reads_prefix else n_shared
        request.pace.begin(request.n_reused)
        self._count(tokens_prompt=len(request.prompt), tokens_reused=request.n_reused)
        self._running.append(track)

    def _make_room(self, n_needed: int, kept: Track | None) -> bool:
        in_use = [*self._in_use(), *([kept] if kept else [])]
        while n_needed > self._n_free_cells:
            if not self._kept.drop_oldest(in_use):
                return False
        return True

    @property
    def _n_free_cells(self) -> int:
        return self._model.n_cells - self._kept.n_cells - sum(track.n_reserved for track in self._running)

    def _in_use(self) -> list[Track]:
        requests = [*self._waiting, *(track.request for track in self._running if track.request)]
        return [request.prefix for request in requests if request.prefix is not None]

    def _drop_prefixes(self) -> None:
        """Forget all that is kept, for a request that fits only without; nothing is running."""
        for request in self._waiting:
            request.prefix, request.reads_prefix = None, False
        while self._kept.drop_oldest([]):
            pass

    def _step(self) -> None:
        rows = self._rows()
        if rows:
            status = self._decode()
            if status == 0:
                for row in rows:
                    self._advance(row)
            else:
                self._recover(rows, status)
            self._note_progress()

    def _note_progress(self) -> None:
        """Sum up everything in work, when it is time."""
        if self._pulse.is_due():
            requests = [*self._waiting, *(track.request for track in self._running if track.request)]
            self.progress = together([request.pace.latest for request in requests if request.pace.latest])

    def _rows(self) -> list[_Row]:
        """Fill the batch: answers first, then prompts in the order in which they came."""
        read_first = {id(request.prefix): request.prefix for request in self._waiting if request.prefix}
        tracks = [*self._running, *(track for track in read_first.values() if track.unread)]
        tracks.sort(key=lambda track: track.request is None or not track.request.pieces)
        self._batch.clear()
        room, rows = self._n_batch, []
        for track in tracks:
            if room == 0:
                break
            rows.append(self._add(track, room))
            room -= len(rows[-1].tokens)
        return rows

    def _add(self, track: Track, room: int) -> _Row:
        """Put what `track` reads next into the batch, up to `room` tokens."""
        tokens = track.unread[:room]
        is_asked = len(tokens) == len(track.unread) and track.request is not None
        outputs = "last" if is_asked else "none"
        last = self._batch.add(tokens, position=len(track.held), sequence=track.number, outputs=outputs)
        return _Row(track, tokens, last if is_asked else -1)

    def _decode(self) -> int:
        self._count(steps=1)
        return int(self._api.llama_decode(self._model.context, self._batch.struct))

    def _recover(self, rows: list[_Row], status: int) -> None:
        """Undo a step that did not come to its end; where it failed, find out with whom, and let the others go on."""
        for row in rows:
            self._take_back(row.track)
        if status == _ABORTED:
            return
        if len(rows) == 1:
            self._fail(rows[0].track, ReadingFailed(f"llama.cpp could not decode (status {status})"))
            return
        for row in rows:
            self._batch.clear()
            alone = self._add(row.track, self._n_batch)
            status = self._decode()
            if status == 0:
                self._advance(alone)
            else:
                self._recover([alone], status)

    def _take_back(self, track: Track) -> None:
        if not self._cells.cut(track.number, len(track.held)):
            track.unread = track.held + track.unread
            track.held = []

    def _advance(self, row: _Row) -> None:
        track, request = row.track, row.track.request
        track.held += row.tokens
        del track.unread[: len(row.tokens)]
        if request is None:
            if not track.unread:
                self._kept.read(track)
            self._tell_readers(track)
            return
        try:
            if row.output >= 0:
                n_before = len(request.pieces)
                track.unread = request.take(self._logits(row.output), self._model)
                self._count(tokens_generated=len(request.pieces) - n_before)
            request.pace.note(len(track.held), len(request.prompt), len(request.pieces), self._usual)
        # Its schema, its limit, its listener: not the others' trouble.
        except Exception as error:  # noqa: BLE001 - see above
            self._end(track, error)
            return
        if row.output >= 0 and not track.unread:
            self._usual.note(len(request.pieces), request.pace.answering_s)
            self._end(track, None)

    def _tell_readers(self, prefix: Track) -> None:
        for request in [request for request in self._waiting if request.prefix is prefix]:
            try:
                request.pace.note(len(prefix.held), len(request.prompt), 0, self._usual)
            # Its listener: as in `_advance`.
            except Exception as error:  # noqa: BLE001 - see above
                self._waiting.remove(request)
                request.fail(error)

    def _logits(self, row: int) -> Logits:
        """What the token at `row` of the batch makes likely; a view that the next decode overwrites."""
        pointer = self._api.llama_get_logits_ith(self._model.context, row)
        if not pointer:
            raise ReadingFailed("llama.cpp gave no answer")
        return np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab,))

    def _fail(self, track: Track, error: Exception) -> None:
        if track.request is not None:
            self._end(track, error)
            return
        for request in [request for request in self._waiting if request.prefix is track]:
            self._waiting.remove(request)
            request.fail(error)
        self._kept.drop(track)

    def _end(self, track: Track, error: Exception | None) -> None:
        """Make room, and hand over what has become of the request."""
        self._running.remove(track)
        self._cells.clear(track.number)
        self._free.append(track.number)
        request, track.request = track.request, None
        if request is not None and error is not None:
            request.fail(error)
        elif request is not None:
            request.finish()

    def _give_up(self, error: InferenceError) -> None:
        """Hand `error` to everybody."""
        with self._changed:
            waiting = [*self._inbox, *self._waiting]
            self._inbox.clear()
        self._waiting = []
        for request in waiting:
            request.fail(error)
        for track in list(self._running):
            self._end(track, error)
        if not self._is_closing:
            self._drop_prefixes()

    def _count(self, **more: int) -> None:
        held = self._totals
        self._totals = replace(held, **{name: getattr(held, name) + count for name, count in more.items()})


def _unloaded() -> InferenceError:
    return InferenceError("the model has been unloaded: ask the manager for it again")

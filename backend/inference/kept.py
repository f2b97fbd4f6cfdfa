"""The instructions that stay read beside the texts in work, so that every text begins where they end."""

import time
from collections.abc import Iterable

from backend.inference.cells import Cells
from backend.inference.chat import common
from backend.inference.loader import KEPT_PREFIXES
from backend.inference.prefix import PrefixStore
from backend.inference.sequences import Request, Track

# Shorter beginnings are read again rather than kept.
_SHORTEST = 32


class KeptPrefixes:
    """Up to four runs of tokens, each in a sequence of its own; used by the thread that decodes."""

    def __init__(self, cells: Cells, store: PrefixStore | None, *, first_number: int, can_be_cut: bool) -> None:
        """Sequences from `first_number` on are theirs. Nothing is kept where memory cannot be cut."""
        self._cells = cells
        self._store = store
        self._is_possible = can_be_cut
        self._free = list(range(first_number, first_number + KEPT_PREFIXES))
        self._tracks: dict[tuple[int, ...], Track] = {}

    @property
    def n_cells(self) -> int:
        """Cells set aside for all of them."""
        return sum(track.n_reserved for track in self._tracks.values())

    def shared_length(self, request: Request) -> int:
        """How many tokens `request` has in common with what is worth keeping of it; 0 where nothing is.

        Its last token it always reads itself: what follows that one is what is asked for.
        """
        is_kept = self._is_possible and len(request.fixed) >= _SHORTEST
        return common(request.fixed, request.prompt[:-1]) if is_kept else 0

    def get(self, tokens: tuple[int, ...]) -> Track | None:
        """The sequence that holds `tokens`, or is about to."""
        track = self._tracks.get(tokens)
        if track is not None:
            track.used_s = time.monotonic()
        return track

    def begin(self, tokens: tuple[int, ...], in_use: Iterable[Track]) -> Track | None:
        """A sequence for `tokens`, read already where they are on disk; None when all are among `in_use`."""
        if not self._free and not self.drop_oldest(in_use):
            return None
        track = Track(self._free.pop(), list(tokens), n_reserved=len(tokens), used_s=time.monotonic())
        if self._store is not None and self._store.load(tokens, track.number):
            track.held, track.unread = track.unread, []
        self._tracks[tokens] = track
        return track

    def read(self, track: Track) -> None:
        """Note that all of `track` has been read now, and keep it on disk."""
        if self._store is not None:
            self._store.save(track.held, track.number)

    def drop(self, track: Track) -> None:
        """Forget it; what shares its cells keeps them."""
        for tokens, found in list(self._tracks.items()):
            if found is track:
                del self._tracks[tokens]
                self._cells.clear(track.number)
                self._free.append(track.number)

    def drop_oldest(self, in_use: Iterable[Track]) -> bool:
        """Forget the one that was used least recently and is not in use; whether there was one."""
        kept = set(map(id, in_use))
        idle = [track for track in self._tracks.values() if id(track) not in kept]
        if not idle:
            return False
        self.drop(min(idle, key=lambda track: track.used_s))
        return True

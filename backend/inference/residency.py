"""Which models may be resident together: the big ones one at a time, or as many as the settings say; pure decisions."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from backend.domain import ModelState, ModelStatus
from backend.inference.loader import Kind
from backend.inference.loading import Loaded
from backend.inference.progress import Progress

# A model in a file of this size or more is big, and so is every instruct model, on a server too: of the big ones
# `max_loaded` may be resident, and the small ones (the two that ship have 25 MB each) stay beside them.
BIG_BYTES: Final = 100 * 2**20
MOVING: Final = (ModelState.LOADING, ModelState.UNLOADING)
# Which of several models the status line shows.
_SHOWN_FIRST: Final = (
    ModelState.LOADING,
    ModelState.UNLOADING,
    ModelState.BUSY,
    ModelState.READY,
    ModelState.FAILED,
    ModelState.UNLOADED,
)


@dataclass(slots=True, eq=False)
class Slot:
    """Where one model stands; read and written under the manager's lock."""

    kind: Kind
    # UNLOADED, LOADING, READY, UNLOADING or FAILED; busy is READY with leases.
    state: ModelState = ModelState.UNLOADED
    loaded: Loaded | None = None
    leases: int = 0
    # Seconds of a steady clock when it was last leased.
    used_s: float = 0.0
    progress: float = 0.0
    # Why the last load failed; empty after one that did not.
    problem: str = ""
    # Of the file that is loaded, or is about to be.
    size_bytes: int = 0

    @property
    def shown_state(self) -> ModelState:
        """As the status shows it."""
        return ModelState.BUSY if self.state is ModelState.READY and self.leases else self.state

    @property
    def is_idle(self) -> bool:
        """Whether it could be unloaded at once."""
        return self.state is ModelState.READY and not self.leases

    @property
    def is_big(self) -> bool:
        """Whether it counts for `max_loaded`."""
        return self.kind == "llm" or self.size_bytes >= BIG_BYTES


def shown(slots: Iterable[Slot]) -> Slot:
    """The one that the status line shows."""
    return min(slots, key=lambda slot: _SHOWN_FIRST.index(slot.shown_state))


def with_progress(status: ModelStatus, progress: Progress | None) -> ModelStatus:
    """`status` with how far the model is, where it has something in work."""
    if progress is None:
        return status
    return replace(
        status,
        prompt_progress=progress.prompt_fraction,
        answer_tokens=progress.n_generated,
        tokens_per_s=progress.tokens_per_s,
        seconds_left=progress.seconds_left,
    )


def idle_big(slots: Iterable[Slot]) -> list[Slot]:
    """Big models that nobody uses, the least recently used first."""
    return sorted((slot for slot in slots if slot.is_big and slot.is_idle), key=lambda slot: slot.used_s)


def in_the_way(slots: Iterable[Slot], wanted: Slot, max_loaded: int) -> list[Slot]:
    """What must leave before `wanted` is loaded: its own stale model, and the big ones there is no room beside.

    One that is leased stays, whatever `max_loaded` says: who holds it may be the one that waits for this one.
    """
    leaving = [wanted] if wanted.loaded else []
    if not wanted.is_big:
        return leaving
    others = [slot for slot in slots if slot is not wanted]
    n_resident = sum(slot.is_big and slot.loaded is not None for slot in others)
    return leaving + idle_big(others)[: max(0, n_resident + 1 - max_loaded)]


def outdated(stale: Iterable[Slot], max_loaded: int) -> list[Slot]:
    """Of those that other settings brought, the ones to unload now: all but the big ones that may stay beside."""
    known = [slot for slot in stale if slot.is_idle]
    big = idle_big(known)
    return [slot for slot in known if not slot.is_big] + big[: max(0, len(big) + 1 - max_loaded)]

"""How far the opening of the journal is."""

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """Where the opening stands."""

    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Opening:
    """One moment of the opening."""

    phase: Phase
    # Of a large journal that is being loaded, 0 to 1; None while that is not known.
    fraction: float | None = None
    # What went wrong and what to do.
    problem: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the database answers."""
        return self.phase is Phase.OPEN

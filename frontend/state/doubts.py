"""The entries that wait for the person's word, as lines of a list."""

from dataclasses import dataclass

from backend.domain import EpisodeSummary


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Entries with something in them that is not sure, newest first."""

    # The names and the first one's line as the preview.
    episodes: tuple[EpisodeSummary, ...]
    # Whether there may be others.
    has_more: bool

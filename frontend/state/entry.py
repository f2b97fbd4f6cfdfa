"""One entry with all that the reader shows of it."""

from dataclasses import dataclass

from backend.domain import (
    Connection,
    Doubt,
    Episode,
    EpisodeStatus,
    EpisodeSummary,
    LedgerEntry,
    PageCursor,
    Status,
)
from frontend.state.days import moment_in_words

# Of a quoted line, at most so much before the words it is quoted for.
_LEAD_CHARS = 40


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry, where it stands, and what was found in it, as of one moment."""

    episode: Episode
    status: EpisodeStatus
    # None once it has been read.
    ledger: LedgerEntry | None
    connections: tuple[Connection, ...]
    # What readers were not sure of and waits for the person's word.
    doubts: tuple[Doubt, ...] = ()

    @property
    def is_drafted(self) -> bool:
        """Whether the connections are a first reading and a deeper one follows."""
        return self.ledger is not None and self.ledger.drafted_revision == self.episode.revision


@dataclass(frozen=True, slots=True)
class QuotedPage:
    """Entries that mention an entity, each with the line that names it as its preview."""

    episodes: tuple[EpisodeSummary, ...]
    next: PageCursor | None


def heading(view: EntryView) -> str:
    """The title that was given, and when it was."""
    moment = moment_in_words(view.episode.valid_at)
    return f"{view.episode.title} · {moment}" if view.episode.title.strip() else moment


def standing(view: EntryView, status: Status | None) -> str:
    """Where the reading of an entry stands, in words that say what to do; empty when there is nothing to say."""
    if view.status is EpisodeStatus.DEAD:
        reason = view.ledger.reason if view.ledger else ""
        return f"Given up{': ' + reason if reason else ''}. Press r to try again."
    if view.status is EpisodeStatus.DONE:
        return "" if view.connections or view.doubts else "Read: nothing was found in it."
    if status is not None and status.problem:
        return f"Waiting: {status.problem}"
    if status is not None and status.reading_uuid == view.episode.uuid:
        return "Being read more closely …" if view.is_drafted else "Being read …"
    return "A first reading; a closer one follows." if view.is_drafted else "Waiting to be read."


def quotation(text: str, start: int, end: int) -> str:
    """The line of `text` around (start, end), as written but for white space; its beginning cut where that is far."""
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", end)
    is_cut = start - begin > _LEAD_CHARS
    if is_cut:
        begin = text.find(" ", start - _LEAD_CHARS, start) + 1 or start
    line = " ".join(text[begin : stop if stop >= 0 else len(text)].split())
    return f"… {line}" if is_cut else line

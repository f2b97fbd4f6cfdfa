"""One entry with all that the reader shows of it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backend.domain import (
    Connection,
    Doubt,
    Entity,
    Episode,
    EpisodeStatus,
    EpisodeSummary,
    LedgerEntry,
    PageCursor,
    Status,
)
from frontend.state.days import moment_in_words

if TYPE_CHECKING:
    from backend.services.journal import JournalService
    from backend.services.review import ReviewService

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


def load_entry(journal: "JournalService", review: "ReviewService", uuid: str) -> EntryView:
    """The entry, its connections and its doubts.

    Raises:
        EpisodeNotFound: it was deleted meanwhile.
        StorageError: the database does not answer.
    """
    ledger = journal.ledger_entry(uuid)
    return EntryView(
        episode=journal.get(uuid),
        status=ledger.status if ledger else EpisodeStatus.DONE,
        ledger=ledger,
        connections=journal.connections(uuid),
        doubts=review.of(uuid),
    )


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


def load_quoted(journal: "JournalService", entity: Entity, name: str, before: PageCursor | None) -> QuotedPage:
    """Up to 20 entries of the journal `name` that mention `entity`, newest first, each with its line quoted.

    Raises:
        StorageError: the database does not answer.
    """
    page = journal.episodes_of(entity.uuid, name, before=before, limit=20)
    return QuotedPage(tuple(_quoted(journal, entity, episode) for episode in page.episodes), page.next)


def _quoted(journal: "JournalService", entity: Entity, summary: EpisodeSummary) -> EpisodeSummary:
    mentions = [
        mention
        for connection in journal.connections(summary.uuid)
        if connection.entity.uuid == entity.uuid
        for mention in connection.mentions
    ]
    if not mentions:
        return summary
    text = journal.get(summary.uuid).text
    first = min(mentions, key=lambda mention: mention.start)
    return replace(summary, preview=f"“{quotation(text, first.start, first.end)}”")

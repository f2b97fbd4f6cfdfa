"""One entry as the reader shows it, and those that mention an entity. Blocking: for a thread."""

from dataclasses import replace
from typing import TYPE_CHECKING

from backend.domain import Entity, EpisodeStatus, EpisodeSummary, PageCursor
from frontend.state.entry import EntryView, QuotedPage, quotation

if TYPE_CHECKING:
    from backend.services.journal import JournalService
    from backend.services.review import ReviewService


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

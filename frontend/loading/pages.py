"""Pages of the list joined to longer ones. Blocking: for a thread."""

from typing import TYPE_CHECKING

from backend.domain import EpisodeSummary, Page, PageCursor

if TYPE_CHECKING:
    from backend.services.journal import JournalService

_PIECE = 500


def load_top(journal: "JournalService", name: str, count: int) -> Page:
    """The newest `count` entries of the journal `name`, or a few more.

    Raises:
        StorageError: the database does not answer.
    """
    return _load(journal, name, None, count)


def load_all(journal: "JournalService", name: str, before: PageCursor) -> Page:
    """Every entry below `before`.

    Raises:
        StorageError: the database does not answer.
    """
    return _load(journal, name, before, None)


def _load(journal: "JournalService", name: str, before: PageCursor | None, count: int | None) -> Page:
    episodes: list[EpisodeSummary] = []
    while True:
        limit = _PIECE if count is None else min(_PIECE, count - len(episodes))
        page = journal.page(name, before=before, limit=limit)
        episodes += page.episodes
        before = page.next
        if before is None or (count is not None and len(episodes) >= count):
            return Page(tuple(episodes), before)

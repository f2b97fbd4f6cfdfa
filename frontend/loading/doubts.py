"""The entries that wait for the person's word, as lines of a list. Blocking: for a thread."""

from typing import TYPE_CHECKING

from backend.domain import EpisodeSummary, WaitingDoubt
from backend.errors import EpisodeNotFound
from backend.text import title_of
from frontend.state.doubts import Doubtful
from frontend.state.entry import quotation

if TYPE_CHECKING:
    from backend.services.journal import JournalService
    from backend.services.review import ReviewService

# Names that are looked at for the list: more than a person decides at one sitting, and loaded in 50 ms.
_MOST_NAMES = 200


def load_doubtful(journal: "JournalService", review: "ReviewService") -> Doubtful:
    """The newest entries of all journals that wait for the person's word.

    Raises:
        StorageError: the database does not answer.
    """
    lines = review.waiting(limit=_MOST_NAMES)
    by_entry: dict[str, list[WaitingDoubt]] = {}
    for line in lines:
        by_entry.setdefault(line.episode_uuid, []).append(line)
    summaries = []
    for uuid, doubts in by_entry.items():
        try:
            summaries.append(_summary(journal, uuid, doubts))
        except EpisodeNotFound:  # deleted since
            continue
    return Doubtful(tuple(summaries), len(lines) == _MOST_NAMES)


def _summary(journal: "JournalService", uuid: str, lines: list[WaitingDoubt]) -> EpisodeSummary:
    episode, first = journal.get(uuid), lines[0]
    names = ", ".join(f"{line.doubt.name}?" for line in lines)
    span = first.doubt.spans[0]
    return EpisodeSummary(
        uuid=uuid,
        journal=episode.journal,
        title=title_of(episode.text, episode.title, day=episode.local_day),
        preview=f"{names} “{quotation(first.around, first.at, first.at + span.end - span.start)}”",
        valid_at=episode.valid_at,
        status=journal.status_of(uuid),
    )

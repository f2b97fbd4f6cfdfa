"""The draft of one editor: what was typed, on disk within half a second."""

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.services.drafts import Drafts


class DraftKeeper:
    """Saves and discards one draft. Thread-safe; a write that a later discard has overtaken does nothing."""

    def __init__(self, drafts: "Drafts", draft_id: str, episode_uuid: str, journal: str) -> None:
        self._drafts = drafts
        self._draft_id = draft_id
        # The entry that the text belongs to; empty until it is saved first.
        self.episode_uuid = episode_uuid
        self._journal = journal
        self._lock = Lock()
        self._kept: str | None = None
        # Number of discards; a write carries the number it was begun under.
        self.epoch = 0

    def keep(self, text: str, epoch: int) -> None:
        """Writes `text`, unless that is what was written last; a blank text leaves no draft.

        Raises:
            StorageError: the draft cannot be written.
        """
        with self._lock:
            if text == self._kept or epoch != self.epoch:
                return
            if text.strip():
                self._drafts.save(self._draft_id, self.episode_uuid, self._journal, text)
            else:
                self._drafts.discard(self._draft_id)
            self._kept = text

    def discard(self) -> None:
        """Removes the draft: the text is saved, or not wanted."""
        with self._lock:
            self.epoch += 1
            self._kept = None
            self._drafts.discard(self._draft_id)

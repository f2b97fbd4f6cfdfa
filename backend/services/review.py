"""What readers were not sure of, and the person's word on it. Plain, blocking and thread-safe."""

import uuid as uuids
from collections.abc import Mapping
from typing import Any

from backend.database.stores import Stores
from backend.domain import Change, ChangeKind, Doubt, EntityType, WaitingDoubt
from backend.errors import EntityNotFound
from backend.graph.names import key_of
from backend.services.events import Events
from backend.services.journal import JournalService
from backend.text import check_journal


class ReviewService:
    """Lists what waits for a person's word, and takes it: it outranks every reader, and `undo` takes it back."""

    def __init__(self, stores: Stores, events: Events, journal: JournalService) -> None:
        self._stores = stores
        self._events = events
        self._journal = journal

    def waiting(self, journal: str | None = None, *, limit: int = 50) -> tuple[WaitingDoubt, ...]:
        """What waits in one journal or in all, of the newest entries first, each name of an entry once."""
        names = self._stores.schema.journals() if journal is None else [check_journal(journal)]
        found = [
            doubt
            for name in names
            if self._stores.schema.has(name)
            for doubt in self._stores.review.waiting(name, limit)
        ]
        # Stable: within an entry they stay in the order of the text.
        found.sort(key=lambda line: (line.valid_at, line.episode_uuid), reverse=True)
        return tuple(found[:limit])

    def of(self, uuid: str) -> tuple[Doubt, ...]:
        """What waits in one entry, by first place. Raises EpisodeNotFound."""
        return self._stores.review.of(uuid, self._journal.get(uuid).journal)

    def named(self, uuid: str, surface: str, type_: EntityType | None = None) -> tuple[Doubt, ...]:
        """What waits in an entry under these words, in whatever case; several where the types differ.

        Raises:
            EpisodeNotFound: no such entry.
        """
        key = key_of(surface)
        return tuple(
            doubt
            for doubt in self.of(uuid)
            if type_ in (None, doubt.type) and key in {doubt.key, *(key_of(span.surface) for span in doubt.spans)}
        )

    def accept(self, uuid: str, doubt: Doubt) -> str:
        """A person says: this is right. Its places become mentions of the entity of this name; that one's uuid.

        Raises:
            EpisodeNotFound: no such entry.
            EntityNotFound: it does not wait there any more.
        """
        name = self._journal.get(uuid).journal
        known = (one.entity_uuid for one in self._stores.known(name, {doubt.key}) if one.type is doubt.type)
        entity_uuid = next(known, None) or str(uuids.uuid4())
        starts = self._stores.review.accept(uuid, name, doubt, entity_uuid)
        if not starts:
            raise EntityNotFound
        self._decided(uuid, name, doubt, {"kind": "accept", "entity": entity_uuid, "starts": starts})
        return entity_uuid

    def dismiss(self, uuid: str, doubt: Doubt) -> None:
        """A person says: this is nothing here. No reading of the entry brings it back. Raises as `accept`."""
        name = self._journal.get(uuid).journal
        if not self._stores.review.dismiss(uuid, name, doubt):
            raise EntityNotFound
        self._decided(uuid, name, doubt, {"kind": "dismiss"})

    def _decided(self, uuid: str, name: str, doubt: Doubt, change: Mapping[str, Any]) -> None:
        which = {"uuid": uuid, "key": doubt.key, "name": doubt.name, "type": doubt.type.value}
        self._stores.episodes.record_change(name, {**change, **which})
        self._events.publish(Change(ChangeKind.READ, uuid, name))

"""What the screens and the command line may do with entries. Plain, blocking and thread-safe."""

import re
import time
import uuid as uuids
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from backend.database.redis_ops import PRIORITY_IMPORTED, PRIORITY_WRITTEN, Fields
from backend.database.stores import Stores
from backend.domain import (
    Change,
    ChangeKind,
    Connection,
    Doubt,
    Entity,
    EntityType,
    Episode,
    EpisodeStatus,
    LedgerEntry,
    Page,
    PageCursor,
)
from backend.errors import EntityNotFound, EntryInvalid, EpisodeNotFound
from backend.graph.names import key_of
from backend.services.events import Events
from backend.text import check_journal, check_text

_UUID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken back."""

    # "add", "edit", "delete", "reject", "accept" or "dismiss".
    kind: str
    uuid: str


class JournalService:
    """Save, change, browse. `enqueue(uuid, journal, priority)` asks the worker to read an entry."""

    def __init__(
        self,
        stores: Stores,
        events: Events,
        enqueue: Callable[[str, str, int], None],
        *,
        default_journal: str,
    ) -> None:
        self._stores = stores
        self._events = events
        self._enqueue = enqueue
        self._default = default_journal
        # One at a time: two would find the same change to be the last, and take it back twice.
        self._undoing = Lock()

    # --- saving ---

    def add(
        self,
        text: str,
        *,
        journal: str | None = None,
        title: str = "",
        valid_at: datetime | None = None,
        source: str = "screen",
        uuid: str | None = None,
    ) -> str:
        """Save a new entry and have it read; its uuid. On disk when this returns.

        Raises:
            EntryInvalid: nothing was written; says why.
            StorageError: nothing was written.
        """
        name = check_journal(journal or self._default)
        check_text(text)
        title = _title(title)
        when = _moment(valid_at)
        if uuid is not None:
            self._check_new(uuid)
        self._stores.schema.ensure(name)
        episode = Episode(
            uuid=uuid or str(uuids.uuid4()),
            journal=name,
            text=text,
            title=title,
            valid_at=when,
            created_at=datetime.now(UTC),
            revision=1,
            source=source,
        )
        priority = PRIORITY_IMPORTED if source == _IMPORT else PRIORITY_WRITTEN
        self._stores.episodes.create(episode, priority=priority)
        self._saved(episode, priority)
        return episode.uuid

    def edit(self, uuid: str, text: str, *, title: str | None = None, valid_at: datetime | None = None) -> Episode:
        """Replace an entry's text; it is read again. The entry as it is now; unchanged when nothing differs.

        Raises:
            EntryInvalid: nothing was written; says why.
            EpisodeNotFound: no such entry.
            StorageError: nothing was written.
        """
        check_text(text)
        new_title = None if title is None else _title(title)
        when = None if valid_at is None else _moment(valid_at)
        while True:
            before = self.get(uuid)
            after = replace(
                before,
                text=text,
                title=before.title if new_title is None else new_title,
                valid_at=when or before.valid_at,
            )
            # The same moment in another offset may be another day to the writer, and compares as equal.
            if after == before and after.valid_at.utcoffset() == before.valid_at.utcoffset():
                return before
            after = replace(after, revision=before.revision + 1)
            if self._stores.episodes.edit(before, after):
                self._saved(after, PRIORITY_WRITTEN)
                return after

    def delete(self, uuid: str) -> None:
        """Remove an entry; `undo` brings it back. Raises EpisodeNotFound."""
        episode = self.get(uuid)
        entry = self._stores.ledger.get(uuid)
        self._stores.episodes.delete(uuid, episode.journal, was_pending=entry is not None)
        self._tell(ChangeKind.DELETED, uuid, episode.journal)

    def undo(self, journal: str | None = None) -> Undone | None:
        """Take back the last change to a journal, of whatever kind; None without one."""
        name = check_journal(journal or self._default)
        with self._undoing:
            return self._undo(name)

    def _undo(self, name: str) -> Undone | None:
        while (change := self._stores.episodes.last_change(name)) is not None:
            try:
                self._take_back(name, change)
            except EpisodeNotFound:
                # Gone for good, by whatever way: the change before it is the last that can be taken back.
                self._stores.episodes.forget_change(name, change)
                continue
            self._stores.episodes.forget_change(name, change)
            return Undone(change["kind"], change["uuid"])
        return None

    def reject(self, uuid: str, entity_uuid: str) -> None:
        """A person says: this is no entity in this entry. Outranks every reader; `undo` takes it back.

        Raises:
            EpisodeNotFound: no such entry.
            EntityNotFound: the entry does not mention it.
        """
        episode = self.get(uuid)
        if not self._stores.mentions.reject(uuid, episode.journal, entity_uuid):
            raise EntityNotFound
        change = {"kind": "reject", "uuid": uuid, "entity": entity_uuid}
        self._stores.episodes.record_change(episode.journal, change)
        self._tell(ChangeKind.READ, uuid, episode.journal)

    def retry(self, uuid: str | None = None) -> int:
        """Have what was given up read again, one entry or all; how many.

        Raises:
            EpisodeNotFound: no such entry.
        """
        if uuid is not None:
            self.get(uuid)
        ledger = self._stores.ledger
        n_revived = 0
        for entry in list(ledger.entries(EpisodeStatus.DEAD)):
            if uuid is None or entry.uuid == uuid:
                # It waits anew, for as long as an entry may wait for a model.
                clean: Fields = {"created_at": repr(time.time()), "attempts": 0, "crashes": 0, "kills": 0, "reason": ""}
                n_revived += ledger.move(entry.uuid, EpisodeStatus.PENDING_NODES, fields=clean)
                self._enqueue(entry.uuid, entry.journal, entry.priority)
                self._tell(ChangeKind.QUEUED, entry.uuid, entry.journal)
        return n_revived

    # --- looking ---

    def get(self, uuid: str) -> Episode:
        """An entry, whichever journal it is in. Raises EpisodeNotFound."""
        for journal in self._journals_default_first():
            try:
                return self._stores.episodes.get(uuid, journal)
            except EpisodeNotFound:
                continue
        raise EpisodeNotFound(uuid)

    def status_of(self, uuid: str) -> EpisodeStatus:
        """Whether an entry waits, was given up, or has been read."""
        return self._stores.ledger.statuses([uuid])[0]

    def ledger_entry(self, uuid: str) -> LedgerEntry | None:
        """Why an entry waits or was given up; None once it has been read."""
        return self._stores.ledger.get(uuid)

    def page(self, journal: str | None = None, *, before: PageCursor | None = None, limit: int = 50) -> Page:
        """Entries, newest first, from the cursor on."""
        name = check_journal(journal or self._default)
        return self._stores.episodes.page(name, before, limit) if self._has(name) else Page((), None)

    def connections(self, uuid: str) -> tuple[Connection, ...]:
        """The entities in an entry, by first mention; only mentions that fit the text as it stands now."""
        episode = self.get(uuid)
        fitting = []
        for connection in self._stores.mentions.of(uuid, episode.journal):
            mentions = tuple(m for m in connection.mentions if episode.text[m.start : m.end] == m.surface)
            if mentions:
                fitting.append(replace(connection, mentions=mentions))
        return tuple(fitting)

    def entities(
        self, journal: str | None = None, *, type: EntityType | None = None, limit: int = 200, offset: int = 0
    ) -> tuple[Entity, ...]:
        """Who and what a journal mentions, most mentioned first."""
        name = check_journal(journal or self._default)
        return self._stores.entities.all(name, type, limit, offset) if self._has(name) else ()

    def entity(self, name_or_uuid: str, journal: str | None = None) -> Entity:
        """The entity that goes by this name, the most mentioned of several. Raises EntityNotFound."""
        name = check_journal(journal or self._default)
        entities = self._stores.entities
        if self._has(name):
            found = entities.with_uuid(name, name_or_uuid) or entities.named(name, key_of(name_or_uuid))
            if found:
                return found[0]
        raise EntityNotFound

    def episodes_of(
        self, entity_uuid: str, journal: str | None = None, *, before: PageCursor | None = None, limit: int = 50
    ) -> Page:
        """Entries that mention an entity, newest first."""
        name = check_journal(journal or self._default)
        return self._stores.episodes.mentioning(entity_uuid, name, before, limit) if self._has(name) else Page((), None)

    def journals(self) -> dict[str, int]:
        """Each journal and how many entries it has."""
        return {name: self._stores.schema.n_episodes(name) for name in self._stores.schema.journals()}

    def resolve_uuid(self, prefix: str) -> str:
        """The uuid that begins so, when there is just one. Raises EpisodeNotFound."""
        found = {
            uuid
            for journal in self._journals_default_first()
            for uuid in (self._stores.episodes.with_prefix(prefix, journal) if prefix else ())
        }
        if prefix in found:
            return prefix
        if len(found) != 1:
            raise EpisodeNotFound(prefix)
        return found.pop()

    # --- within ---

    def _take_back(self, name: str, change: Mapping[str, Any]) -> None:
        uuid = change["uuid"]
        match change["kind"]:
            case "add":
                # A deletion of its own, so that one undo too many loses nothing: the next brings the entry back.
                self.delete(uuid)
            case "delete":
                self._stores.episodes.restore(uuid, name, is_pending=change["was_pending"])
                self._saved(self._stores.episodes.get(uuid, name), PRIORITY_WRITTEN, is_read=not change["was_pending"])
            case "edit":
                self._take_edit_back(name, change)
            case "reject":
                self._stores.mentions.unreject(uuid, name, change["entity"])
                self._tell(ChangeKind.READ, uuid, name)
            case "accept" | "dismiss":
                self._take_word_back(name, change)
                self._tell(ChangeKind.READ, uuid, name)

    def _take_word_back(self, name: str, change: Mapping[str, Any]) -> None:
        review, uuid = self._stores.review, change["uuid"]
        doubt = Doubt(change["key"], change["name"], EntityType(change["type"]), ())
        if change["kind"] == "accept":
            review.unaccept(uuid, name, doubt, change["entity"], change["starts"])
        else:
            review.undismiss(uuid, name, doubt)

    def _take_edit_back(self, name: str, change: Mapping[str, Any]) -> None:
        while True:
            now = self._stores.episodes.get(change["uuid"], name)
            former = replace(
                now,
                text=change["text"],
                title=change["title"],
                valid_at=datetime.fromisoformat(change["valid_at"]),
                revision=now.revision + 1,
            )
            if self._stores.episodes.rewrite(now, former):
                self._saved(former, PRIORITY_WRITTEN)
                return

    def _saved(self, episode: Episode, priority: int, *, is_read: bool = False) -> None:
        if not is_read:
            self._enqueue(episode.uuid, episode.journal, priority)
        self._tell(ChangeKind.SAVED, episode.uuid, episode.journal)

    def _tell(self, kind: ChangeKind, uuid: str, journal: str) -> None:
        self._events.publish(Change(kind, uuid, journal))

    def _has(self, journal: str) -> bool:
        return self._stores.schema.has(journal)

    def _journals_default_first(self) -> list[str]:
        names = self._stores.schema.journals()
        return sorted(names, key=lambda name: name != self._default)

    def _check_new(self, uuid: str) -> None:
        if not _UUID.fullmatch(uuid):
            raise EntryInvalid("a uuid is 1 to 64 of the characters A-Z a-z 0-9 _ -")
        for journal in self._stores.schema.journals():
            if self._stores.episodes.existing(journal, [uuid]):
                raise EntryInvalid(f"there is an entry {uuid} already: edit it, or leave the uuid out")
            if self._stores.episodes.is_deleted(uuid, journal):
                raise EntryInvalid(f"the entry {uuid} was deleted: undo that, or leave the uuid out")


def _moment(when: datetime | None) -> datetime:
    """Aware, in the writer's own offset; a naive time is the writer's local one."""
    moment = when or datetime.now().astimezone()
    # First: in the years 1 and 9999 the offset itself may lie outside what datetime can say.
    if not 1 < moment.year < 9999:
        raise EntryInvalid("the date is outside the years 2 to 9998")
    if moment.tzinfo is None:
        moment = moment.astimezone()
    if (moment.utcoffset() or timedelta()) % timedelta(seconds=1):
        raise EntryInvalid("the time zone's offset must be whole seconds")
    return moment


def _title(given: str) -> str:
    """A title as it is kept; blank is none."""
    return check_text(given).strip() if given.strip() else ""

"""Entries as a worker leaves them, and what is then shown of them."""

import time

from backend.database.stores import Stores
from backend.domain import EntityType, FoundEntity, Provenance, ReaderKind, Span
from backend.graph.extract_nodes import respect
from backend.graph.names import key_of
from backend.graph.resolve import resolve
from backend.services.journal import JournalService

JOURNAL = "default"


def read(stores: Stores, uuid: str, *names: str, type_: EntityType = EntityType.PERSON) -> None:
    """What a worker does: these names are found where they first stand, and the entry leaves the ledger."""
    episode = stores.episodes.get(uuid, JOURNAL)
    found = [
        FoundEntity(name, type_, (Span(episode.text.index(name), episode.text.index(name) + len(name), name, 1.0),))
        for name in names
    ]
    kept = respect(found, stores.corrections(uuid, JOURNAL))
    known = stores.known(JOURNAL, {key_of(one.name) for one in kept})
    resolved = resolve(kept, known, lambda: f"new-{time.monotonic_ns()}")
    made = Provenance(ReaderKind.TAGGER, "w", "")
    waiting = stores.ledger.get(uuid)
    assert waiting is not None
    assert stores.write_reading(uuid, JOURNAL, waiting.revision, resolved, made, is_draft=False)
    assert stores.ledger.finish(uuid, waiting.revision)


def names(journal: JournalService, uuid: str) -> set[str]:
    """What an entry is shown to mention."""
    return {connection.entity.name for connection in journal.connections(uuid)}


def uuids(journal: JournalService) -> set[str]:
    """Every entry of the first page."""
    return {summary.uuid for summary in journal.page().episodes}

"""What readers found in an entry: written whole or not at all, never over what a person said."""

from collections.abc import Sequence
from datetime import datetime

import redis

from backend.database import cypher, keys, review
from backend.database.connection import translated
from backend.database.episodes import from_us, now_us
from backend.domain import (
    Connection,
    Corrections,
    Doubt,
    Entity,
    EntityType,
    Mention,
    Origin,
    Provenance,
    ResolvedEntity,
)

_CORRECTIONS = (
    "MATCH (:Episode {uuid: $uuid})-[r:REJECTED]->(:Entity) RETURN r.surface AS surface, -1 AS start, -1 AS end "
    "UNION ALL MATCH (:Episode {uuid: $uuid})-[:PROPOSES]->(d:Dismissed) "
    "RETURN d.surface AS surface, -1 AS start, -1 AS end "
    # Those that the text has changed under keep no place free.
    "UNION ALL MATCH (e:Episode {uuid: $uuid})-[m:MENTIONS {origin: 'person'}]->(:Entity) "
    "WHERE substring(e.text, m.start, m.end - m.start) = m.surface "
    "RETURN m.surface AS surface, m.start AS start, m.end AS end"
)
_FORGET = "MATCH (:Episode {uuid: $uuid})-[m:MENTIONS {origin: 'reader'}]->(:Entity) DELETE m"
_NEW = (
    "UNWIND $new AS n MERGE (x:Entity {uuid: n.uuid}) "
    "ON CREATE SET x.name = n.name, x.type = n.type, x.created_at = $now, x.origin = 'reader' "
    "MERGE (a:Alias {key: n.key})-[:OF]->(x)"
)
_WRITE = (
    # Asked again here: a person may have rejected or accepted something since the reading was begun.
    "MATCH (e:Episode {uuid: $uuid}) OPTIONAL MATCH (e)-[j:REJECTED]->(:Entity) WITH e, collect(j.surface) AS rejected "
    "OPTIONAL MATCH (e)-[:PROPOSES]->(d:Dismissed) WITH e, rejected, collect(d.surface) AS dismissed "
    f"{review.KEPT_PLACES} WITH e, rejected, dismissed, collect(m.start) AS kept "
    "UNWIND $rows AS r WITH e, rejected, dismissed, kept, r "
    "WHERE NOT r.surface IN rejected AND NOT r.surface IN dismissed AND NOT r.start IN kept "
    "MATCH (x:Entity {uuid: r.entity}) "
    "CREATE (e)-[:MENTIONS {start: r.start, end: r.end, surface: r.surface, confidence: r.confidence, "
    "reader: $reader, origin: 'reader'}]->(x)"
)
_PROVENANCE = (
    "MATCH (e:Episode {uuid: $uuid}) SET e.read_revision = $revision, e.reader = $reader, e.weights = $weights, "
    "e.prompt = $prompt, e.read_at = $now, e.is_draft = $is_draft"
)
_MENTIONED = "MATCH (:Episode {uuid: $uuid})-[:MENTIONS]->(x:Entity) RETURN DISTINCT x.uuid AS uuid"
# Entities that a reading made up and no entry, deleted or not, names any more.
_ORPHANS = (
    "UNWIND $uuids AS u MATCH (x:Entity {uuid: u}) "
    "WHERE x.origin = 'reader' AND NOT (x)<-[:MENTIONS]-() AND NOT (x)<-[:REJECTED]-() "
    "OPTIONAL MATCH (a:Alias)-[:OF]->(x) DELETE a, x"
)
_ALL = (
    "MATCH (e:Episode {uuid: $uuid})-[m:MENTIONS]->(x:Entity) RETURN x.uuid AS uuid, x.name AS name, x.type AS type, "
    "m.start AS start, m.end AS end, m.surface AS surface, m.confidence AS confidence, m.reader AS reader, "
    "m.origin AS origin ORDER BY m.start, m.end"
)
_COUNTS = (
    "UNWIND $uuids AS u MATCH (e:Episode)-[m:MENTIONS]->(x:Entity {uuid: u}) "
    "RETURN u AS uuid, count(DISTINCT e) AS n_episodes, count(m) AS n_mentions, "
    "min(e.valid_at) AS first_at, max(e.valid_at) AS last_at"
)
_REJECT = (
    "MATCH (e:Episode {uuid: $uuid})-[m:MENTIONS]->(x:Entity {uuid: $entity}) "
    "CREATE (e)-[:REJECTED {start: m.start, end: m.end, surface: m.surface, confidence: m.confidence, "
    "reader: m.reader, origin: m.origin}]->(x) DELETE m RETURN count(m) AS n"
)
_UNREJECT = (
    "MATCH (e:Episode {uuid: $uuid})-[m:REJECTED]->(x:Entity {uuid: $entity}) "
    "CREATE (e)-[:MENTIONS {start: m.start, end: m.end, surface: m.surface, confidence: m.confidence, "
    "reader: m.reader, origin: m.origin}]->(x) DELETE m RETURN count(m) AS n"
)


class Mentions:
    """The mentions in one server's journals; thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def corrections(self, uuid: str, journal: str) -> Corrections:
        """What a person said about an entry."""
        records = cypher.read(self._client, journal, _CORRECTIONS, {"uuid": uuid})
        return Corrections(
            rejected=frozenset(record["surface"] for record in records if record["start"] < 0),
            kept=frozenset((record["start"], record["end"]) for record in records if record["start"] >= 0),
        )

    def write_reading(
        self,
        uuid: str,
        journal: str,
        revision: int,
        entities: Sequence[ResolvedEntity],
        provenance: Provenance,
        *,
        is_draft: bool,
        unsure: Sequence[Doubt] = (),
    ) -> bool:
        """Replace what readers found in an entry, in one transaction; False when it was saved or removed meanwhile.

        What they were not sure of waits for the person's word instead, in the place of what waited before.

        The ledger entry is watched: every save touches it, so nothing is written over a newer text.
        """
        ledger_key = keys.episode(uuid)
        with translated(), self._client.pipeline() as pipeline:
            try:
                pipeline.watch(ledger_key)
                status, saved_revision = pipeline.hmget(ledger_key, "status", "revision")
                if status is None or (saved_revision or "0") != str(revision):
                    return False
                former = [r["uuid"] for r in cypher.read(self._client, journal, _MENTIONED, {"uuid": uuid})]
                pipeline.multi()
                for statement in _statements(uuid, revision, entities, provenance, former, is_draft):
                    cypher.queue(pipeline, journal, statement)
                for statement in review.statements(uuid, unsure, provenance):
                    cypher.queue(pipeline, journal, statement)
                if is_draft:
                    pipeline.hset(ledger_key, "drafted_revision", revision)
                pipeline.execute()
            except redis.WatchError:
                return False
        return True

    def of(self, uuid: str, journal: str) -> tuple[Connection, ...]:
        """The entities of an entry with their mentions, by first mention."""
        records = cypher.read(self._client, journal, _ALL, {"uuid": uuid})
        found: dict[str, list[Mention]] = {}
        named: dict[str, tuple[str, str]] = {}
        for record in records:
            named[record["uuid"]] = record["name"], record["type"]
            found.setdefault(record["uuid"], []).append(_mention(record))
        counts = {r["uuid"]: r for r in cypher.read(self._client, journal, _COUNTS, {"uuids": list(named)})}
        return tuple(
            Connection(_entity(entity_uuid, *named[entity_uuid], counts.get(entity_uuid, {})), tuple(mentions))
            for entity_uuid, mentions in found.items()
        )

    def reject(self, uuid: str, journal: str, entity_uuid: str) -> int:
        """A person says: this is not an entity here. How many mentions it was."""
        return self._swap(_REJECT, uuid, journal, entity_uuid)

    def unreject(self, uuid: str, journal: str, entity_uuid: str) -> int:
        """Take a rejection back. How many mentions came back."""
        return self._swap(_UNREJECT, uuid, journal, entity_uuid)

    def _swap(self, query: str, uuid: str, journal: str, entity_uuid: str) -> int:
        records = cypher.write(self._client, journal, query, {"uuid": uuid, "entity": entity_uuid})
        return int(records[0]["n"]) if records else 0


def _statements(
    uuid: str,
    revision: int,
    entities: Sequence[ResolvedEntity],
    provenance: Provenance,
    former: Sequence[str],
    is_draft: bool,
) -> list[cypher.Statement]:
    now = now_us()
    new = [
        {"uuid": entity.uuid, "name": entity.found.name, "type": entity.found.type.value, "key": entity.key}
        for entity in entities
        if entity.is_new
    ]
    rows = [
        {"entity": e.uuid, "start": s.start, "end": s.end, "surface": s.surface, "confidence": round(s.confidence, 4)}
        for e in entities
        for s in e.found.spans
    ]
    made = {"reader": provenance.reader.value, "weights": provenance.weights, "prompt": provenance.prompt}
    # A new one too: what a person said meanwhile may have left it without a mention.
    gone = sorted({*former, *(e.uuid for e in entities if e.is_new)} - {e.uuid for e in entities if not e.is_new})
    return [
        (_FORGET, {"uuid": uuid}),
        *((_NEW, {"new": batch, "now": now}) for batch in _batches(new)),
        *((_WRITE, {"uuid": uuid, "rows": batch, "reader": made["reader"]}) for batch in _batches(rows)),
        (_PROVENANCE, {"uuid": uuid, "revision": revision, "now": now, "is_draft": is_draft, **made}),
        *((_ORPHANS, {"uuids": batch}) for batch in _batches(gone)),
    ]


def _batches[T](rows: Sequence[T]) -> list[Sequence[T]]:
    return [rows[i : i + cypher.BATCH_ROWS] for i in range(0, len(rows), cypher.BATCH_ROWS)]


def _mention(record: cypher.Record) -> Mention:
    return Mention(
        entity_uuid=record["uuid"],
        start=record["start"],
        end=record["end"],
        surface=record["surface"],
        confidence=float(record["confidence"]),
        reader=record["reader"],
        origin=Origin(record["origin"]),
    )


def _entity(uuid: str, name: str, type_: str, counts: cypher.Record) -> Entity:
    return Entity(
        uuid=uuid,
        name=name,
        type=EntityType(type_),
        n_episodes=counts.get("n_episodes", 0),
        n_mentions=counts.get("n_mentions", 0),
        first_at=_time(counts.get("first_at")),
        last_at=_time(counts.get("last_at")),
    )


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)

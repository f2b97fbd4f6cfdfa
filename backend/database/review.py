"""What readers were not sure of: kept beside the entry, out of the graph of entities, until a person says.

(:Episode)-[:PROPOSES]->(:Proposal {key, name, type, start, end, surface, confidence, reader}), one a place. The label
says where it stands: Proposal waits, Dismissed was turned down and stays so that no later reading brings it back,
Withheld belongs to a deleted entry. So what waits is counted in constant time: 0.08 ms at 10,000 of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from backend.database import cypher
from backend.database.episodes import from_us, now_us
from backend.domain import Doubt, EntityType, Provenance, Span, WaitingDoubt

# How much of the entry goes with a line of the list, on either side of where the words begin.
AROUND_CHARS = 300

# Places of `e` that a person's word holds: those that the text has changed under hold nothing.
KEPT_PLACES = (
    "OPTIONAL MATCH (e)-[m:MENTIONS {origin: 'person'}]->(:Entity) "
    "WHERE substring(e.text, m.start, m.end - m.start) = m.surface"
)

_COUNT = "MATCH (p:Proposal) RETURN count(p) AS n"
_FIELDS = (
    "p.key AS key, p.name AS name, p.type AS type, p.start AS start, p.end AS end, p.surface AS surface, "
    "p.confidence AS confidence"
)
_OF = f"MATCH (:Episode {{uuid: $uuid}})-[:PROPOSES]->(p:Proposal) RETURN {_FIELDS} ORDER BY p.start, p.end"
# Looks at all that wait: 9 ms at 10,000 of them, for a list that a person asks for.
_WAITING = (
    # So many entries have as many names at least: only theirs are put together.
    "MATCH (e:Episode)-[:PROPOSES]->(:Proposal) WITH DISTINCT e ORDER BY e.valid_at DESC, e.uuid DESC LIMIT $limit "
    "MATCH (e)-[:PROPOSES]->(p:Proposal) WITH e, p.key AS key, p.type AS type, min(p.start) AS start, "
    "max(p.confidence) AS surest, count(p) AS n_places ORDER BY e.valid_at DESC, e.uuid DESC, start LIMIT $limit "
    "MATCH (e)-[:PROPOSES]->(p:Proposal {key: key, type: type, start: start}) "
    "WITH e, p, surest, n_places, CASE WHEN p.start > $around THEN p.start - $around ELSE 0 END AS begin "
    f"RETURN {_FIELDS}, e.uuid AS uuid, e.valid_at AS valid_at, e.utc_offset_s AS utc_offset_s, surest, n_places, "
    "p.start - begin AS at, substring(e.text, begin, 2 * $around + p.end - p.start) AS around "
    "ORDER BY e.valid_at DESC, e.uuid DESC, p.start"
)
_FORGET = "MATCH (:Episode {uuid: $uuid})-[:PROPOSES]->(p:Proposal) DELETE p"
_PROPOSE = (
    # What a person said meanwhile, since the reading was begun, counts.
    "MATCH (e:Episode {uuid: $uuid}) OPTIONAL MATCH (e)-[:PROPOSES]->(d:Dismissed) WITH e, collect(d.key) AS dismissed "
    f"{KEPT_PLACES} WITH e, dismissed, collect(m.start) AS kept "
    "UNWIND $rows AS r WITH e, dismissed, kept, r WHERE NOT r.key IN dismissed AND NOT r.start IN kept "
    "CREATE (e)-[:PROPOSES]->(:Proposal {key: r.key, name: r.name, type: r.type, start: r.start, end: r.end, "
    "surface: r.surface, confidence: r.confidence, reader: $reader})"
)
_CHOSEN = "MATCH (e:Episode {uuid: $uuid})-[:PROPOSES]->(p:%s) WHERE p.key = $key AND p.type = $type "
# Collected before the MERGE: FalkorDB 4 goes on with one row of several after a MERGE that creates.
_ACCEPT = (
    _CHOSEN % "Proposal" + "WITH e, collect(p) AS places "
    "MERGE (x:Entity {uuid: $entity}) "
    "ON CREATE SET x.name = $name, x.type = $type, x.created_at = $now, x.origin = 'reader' "
    "MERGE (a:Alias {key: $key})-[:OF]->(x) WITH e, x, places UNWIND places AS p "
    "CREATE (e)-[:MENTIONS {start: p.start, end: p.end, surface: p.surface, confidence: p.confidence, "
    "reader: p.reader, origin: 'person'}]->(x) DELETE p RETURN collect(p.start) AS starts"
)
_UNACCEPT = (
    "MATCH (e:Episode {uuid: $uuid})-[m:MENTIONS {origin: 'person'}]->(x:Entity {uuid: $entity}) "
    "WHERE m.start IN $starts "
    "CREATE (e)-[:PROPOSES]->(:Proposal {key: $key, name: $name, type: $type, start: m.start, end: m.end, "
    "surface: m.surface, confidence: m.confidence, reader: m.reader}) DELETE m"
)
# Nobody names it any more: neither an entry, deleted or not, nor a correction.
_ORPHAN = (
    "MATCH (x:Entity {uuid: $entity}) "
    "WHERE x.origin = 'reader' AND NOT (x)<-[:MENTIONS]-() AND NOT (x)<-[:REJECTED]-() "
    "OPTIONAL MATCH (a:Alias)-[:OF]->(x) DELETE a, x"
)
_DISMISS = _CHOSEN % "Proposal" + "SET p:Dismissed REMOVE p:Proposal RETURN count(p) AS n"
_UNDISMISS = (
    _CHOSEN % "Dismissed" + "AND substring(e.text, p.start, p.end - p.start) = p.surface "
    "SET p:Proposal REMOVE p:Dismissed"
)
# The entry's text has changed under them.
_DROP_DISMISSED = _CHOSEN % "Dismissed" + "DELETE p"


class Review:
    """What waits for a person's word in one server's journals; thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def count(self, journal: str) -> int:
        """How many places wait in a journal; constant time."""
        return int(cypher.read(self._client, journal, _COUNT)[0]["n"])

    def of(self, uuid: str, journal: str) -> tuple[Doubt, ...]:
        """What waits in one entry, by first place."""
        places: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for record in cypher.read(self._client, journal, _OF, {"uuid": uuid}):
            places.setdefault((record["key"], record["type"]), []).append(record)
        return tuple(_doubt(records) for records in places.values())

    def waiting(self, journal: str, limit: int) -> tuple[WaitingDoubt, ...]:
        """Up to `limit` of what waits, of the newest entries first; each name of an entry once."""
        records = cypher.read(self._client, journal, _WAITING, {"limit": limit, "around": AROUND_CHARS})
        return tuple(
            WaitingDoubt(
                episode_uuid=record["uuid"],
                journal=journal,
                valid_at=from_us(record["valid_at"], record["utc_offset_s"]),
                doubt=_doubt([{**record, "confidence": record["surest"]}]),
                n_places=record["n_places"],
                around=record["around"],
                at=record["at"],
            )
            for record in records
        )

    def accept(self, uuid: str, journal: str, doubt: Doubt, entity_uuid: str) -> list[int]:
        """Make its places mentions of the entity, which is made where there is none, by the person's word.

        Where they start; empty when nothing of it waits any more, and then nothing is made.
        """
        params = _which(uuid, doubt) | {"entity": entity_uuid, "name": doubt.name, "now": now_us()}
        records = cypher.write(self._client, journal, _ACCEPT, params)
        return [int(start) for start in records[0]["starts"]] if records else []

    def unaccept(self, uuid: str, journal: str, doubt: Doubt, entity_uuid: str, starts: Sequence[int]) -> None:
        """Take an acceptance back: the places wait again, and an entity that nothing else names is gone."""
        params = _which(uuid, doubt) | {"entity": entity_uuid, "name": doubt.name, "starts": list(starts)}
        cypher.write(self._client, journal, _UNACCEPT, params)
        cypher.write(self._client, journal, _ORPHAN, {"entity": entity_uuid})

    def dismiss(self, uuid: str, journal: str, doubt: Doubt) -> int:
        """A person says: this is nothing here. How many places that was."""
        records = cypher.write(self._client, journal, _DISMISS, _which(uuid, doubt))
        return int(records[0]["n"]) if records else 0

    def undismiss(self, uuid: str, journal: str, doubt: Doubt) -> None:
        """Take a dismissal back; places that no longer fit the text are left to the next reading."""
        cypher.write(self._client, journal, _UNDISMISS, _which(uuid, doubt))
        cypher.write(self._client, journal, _DROP_DISMISSED, _which(uuid, doubt))


def statements(uuid: str, unsure: Sequence[Doubt], provenance: Provenance) -> list[cypher.Statement]:
    """What puts a reading's doubts in the place of those of the reading before."""
    rows = [
        {
            "key": doubt.key,
            "name": doubt.name,
            "type": doubt.type.value,
            "start": span.start,
            "end": span.end,
            "surface": span.surface,
            "confidence": round(span.confidence, 4),
        }
        for doubt in unsure
        for span in doubt.spans
    ]
    batches = [rows[i : i + cypher.BATCH_ROWS] for i in range(0, len(rows), cypher.BATCH_ROWS)]
    reader = provenance.reader.value
    return [
        (_FORGET, {"uuid": uuid}),
        *((_PROPOSE, {"uuid": uuid, "rows": batch, "reader": reader}) for batch in batches),
    ]


def _which(uuid: str, doubt: Doubt) -> dict[str, Any]:
    return {"uuid": uuid, "key": doubt.key, "type": doubt.type.value}


def _doubt(records: Sequence[Mapping[str, Any]]) -> Doubt:
    """One name from the records of its places."""
    first = records[0]
    spans = (Span(r["start"], r["end"], r["surface"], float(r["confidence"])) for r in records)
    return Doubt(first["key"], first["name"], EntityType(first["type"]), tuple(spans))

"""The people, places, groups and activities of a journal, and the names they go by."""

from collections.abc import Collection, Mapping

import redis

from backend.database import cypher
from backend.database.episodes import from_us
from backend.domain import Entity, EntityType, KnownName

_KNOWN = (
    "MATCH (a:Alias)-[:OF]->(x:Entity) WHERE a.key IN $keys "
    "RETURN a.key AS key, x.uuid AS uuid, x.type AS type ORDER BY x.created_at"
)
_COUNTED = (
    "RETURN x.uuid AS uuid, x.name AS name, x.type AS type, count(DISTINCT e) AS n_episodes, count(m) AS n_mentions, "
    "min(e.valid_at) AS first_at, max(e.valid_at) AS last_at ORDER BY n_mentions DESC, name, uuid "
)
_ALL = "MATCH (e:Episode)-[m:MENTIONS]->(x:Entity) " + _COUNTED + "SKIP $offset LIMIT $limit"
_OF_TYPE = "MATCH (e:Episode)-[m:MENTIONS]->(x:Entity {type: $type}) " + _COUNTED + "SKIP $offset LIMIT $limit"
_BY_UUID = "MATCH (x:Entity {uuid: $uuid}) MATCH (e:Episode)-[m:MENTIONS]->(x) " + _COUNTED
_BY_NAME = "MATCH (:Alias {key: $key})-[:OF]->(x:Entity) MATCH (e:Episode)-[m:MENTIONS]->(x) " + _COUNTED


class Entities:
    """The entities of one server's journals; thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def known(self, journal: str, name_keys: Collection[str]) -> list[KnownName]:
        """Which of these names are taken, and by whom; the oldest entity first. One index lookup a name."""
        records = cypher.read(self._client, journal, _KNOWN, {"keys": sorted(name_keys)}) if name_keys else []
        return [KnownName(record["key"], record["uuid"], EntityType(record["type"])) for record in records]

    def all(self, journal: str, type_: EntityType | None, limit: int, offset: int) -> tuple[Entity, ...]:
        """Those that entries mention, most mentioned first."""
        params = {"limit": limit, "offset": offset}
        if type_ is None:
            return self._entities(journal, _ALL, params)
        return self._entities(journal, _OF_TYPE, params | {"type": type_.value})

    def with_uuid(self, journal: str, uuid: str) -> tuple[Entity, ...]:
        """The entity of this uuid, or nothing."""
        return self._entities(journal, _BY_UUID, {"uuid": uuid})

    def named(self, journal: str, name_key: str) -> tuple[Entity, ...]:
        """Those that go by this name, most mentioned first."""
        return self._entities(journal, _BY_NAME, {"key": name_key})

    def _entities(self, journal: str, query: str, params: Mapping[str, object]) -> tuple[Entity, ...]:
        return tuple(
            Entity(
                uuid=record["uuid"],
                name=record["name"],
                type=EntityType(record["type"]),
                n_episodes=record["n_episodes"],
                n_mentions=record["n_mentions"],
                first_at=from_us(record["first_at"]),
                last_at=from_us(record["last_at"]),
            )
            for record in cypher.read(self._client, journal, query, params)
        )

"""One graph a journal: its indexes, and the ordered migrations that bring an old one up to date.

(:Episode {uuid, text, title, valid_at, utc_offset_s, local_day, created_at, revision, source,
           read_revision, reader, weights, prompt, read_at, is_draft})
(:Entity  {uuid, name, type, created_at, origin})
(:Alias   {key})-[:OF]->(:Entity)                       what an entity goes by, in the form that is compared
(:Episode)-[:MENTIONS {start, end, surface, confidence, reader, origin}]->(:Entity)
(:Episode)-[:REJECTED {start, end, surface, confidence, reader, origin}]->(:Entity)   a person said: not this
(:Episode)-[:PROPOSES]->(:Proposal {key, name, type, start, end, surface, confidence, reader})   see `review`

A deleted entry carries the label Deleted in place of Episode and keeps its edges, so that undo is one step.
Times are microseconds since 1970 UTC; `utc_offset_s` and `local_day` are the writer's own.
"""

import threading

import redis

from backend.database import cypher, keys
from backend.database.connection import translated

# Each is a query; never edit one that has been released, add the next.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE INDEX FOR (e:Episode) ON (e.uuid)",
        "CREATE INDEX FOR (e:Episode) ON (e.valid_at)",
        "CREATE INDEX FOR (d:Deleted) ON (d.uuid)",
        "CREATE INDEX FOR (x:Entity) ON (x.uuid)",
        "CREATE INDEX FOR (a:Alias) ON (a.key)",
    ),
)


class Schema:
    """Remembers which journals of this server have been brought up to date."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._current: set[str] = set()
        self._lock = threading.Lock()

    def ensure(self, journal: str) -> None:
        """Bring a journal's graph to the newest schema; costs nothing the second time. Idempotent."""
        if journal in self._current:
            return
        with self._lock, translated():
            done = int(self._client.get(keys.schema(journal)) or 0)
            for number, statements in enumerate(MIGRATIONS[done:], start=done + 1):
                for statement in statements:
                    self._apply(journal, statement)
                self._client.set(keys.schema(journal), number)
            self._current.add(journal)

    def has(self, journal: str) -> bool:
        """Whether a journal is there; asking does not make one, and brings one that is there up to date."""
        if journal in self._current:
            return True
        with translated():
            is_there = bool(self._client.exists(keys.graph(journal)))
        if is_there:
            self.ensure(journal)
        return is_there

    def journals(self) -> list[str]:
        """The names of all journals, sorted."""
        with translated():
            graphs: list[str] = self._client.execute_command("GRAPH.LIST")
        return sorted(name.removeprefix(keys.GRAPH_PREFIX) for name in graphs if name.startswith(keys.GRAPH_PREFIX))

    def n_episodes(self, journal: str) -> int:
        """How many entries a journal has; constant time."""
        return int(cypher.read(self._client, journal, "MATCH (e:Episode) RETURN count(e) AS n")[0]["n"])

    def _apply(self, journal: str, statement: str) -> None:
        try:
            self._client.execute_command("GRAPH.QUERY", keys.graph(journal), statement)
        except redis.ResponseError as error:
            # Another process came first, or a crash came between the index and its number.
            if "already indexed" not in str(error):
                raise

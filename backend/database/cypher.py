"""Run a parameterised Cypher query; rows become records.

Queries are constants with `$parameters`; none is built from text that a person or a model wrote.
Only scalars are returned, so that the client never has to ask for the graph's schema.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import redis
from falkordb.graph import Graph
from falkordb.helpers import stringify_param_value

from backend.database import keys
from backend.database.connection import translated

type Record = dict[str, Any]
type Statement = tuple[str, Mapping[str, Any]]

_QUERY = "GRAPH.QUERY"
# What a bound list may have at the most in one query; longer ones are cut into several.
BATCH_ROWS = 1000


def read(client: redis.Redis, journal: str, query: str, params: Mapping[str, Any] | None = None) -> list[Record]:
    """The records that a query which changes nothing returns."""
    with translated():
        result = Graph(client, keys.graph(journal)).ro_query(query, dict(params or {}))
    return _records(result.header, result.result_set)


def write(client: redis.Redis, journal: str, query: str, params: Mapping[str, Any] | None = None) -> list[Record]:
    """Run one query that changes the graph, atomically; its records."""
    with translated():
        result = Graph(client, keys.graph(journal)).query(query, dict(params or {}))
    return _records(result.header, result.result_set)


def queue(pipeline: Any, journal: str, statement: Statement) -> None:
    """Add a query to a pipeline, so that it commits together with what else is in it."""
    query, params = statement
    header = "".join(f"{name}={stringify_param_value(value)} " for name, value in params.items())
    pipeline.execute_command(_QUERY, keys.graph(journal), f"CYPHER {header}{query}" if header else query, "--compact")


def _records(header: Sequence[Sequence[Any]], rows: Sequence[Sequence[Any]]) -> list[Record]:
    names = [column[1] if isinstance(column[1], str) else column[1].decode() for column in header]
    return [dict(zip(names, row, strict=True)) for row in rows]

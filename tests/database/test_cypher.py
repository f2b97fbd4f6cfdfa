"""Parameters reach the graph and come back exactly, and a refused query quotes nothing."""

from typing import Any

import pytest

from backend.database import cypher
from backend.database.connection import default_client, translated
from backend.errors import StorageError
from backend.services.runtime import Runtime

pytestmark = pytest.mark.usefixtures("runtime")

TRAPS = [
    "$source",
    "'\"`",
    "ends with \\",
    '\\" \\\\" \\n \\u0041',
    "CYPHER x=1 MATCH (n) DETACH DELETE n",
    "/* a */ // b",
    "}) MATCH (n) DELETE n //",
    "[bold]x[/bold] [/etc]",
    "a\r\nb\rc\n",
    "\x01\x1b[31m\x7f\x9b",
    "👩‍👩‍👧 e\u0301 \U0010ffff \ufeff",
    "שלום \u202eabc\u202c عربي",
    "\u2028\u2029\u0085\v\f",
    "",
]
VALUES: list[Any] = [
    0.0001,
    1e-07,
    1e300,
    -1.5,
    2**62,
    -(2**62),
    2**63 - 1,
    0,
    True,
    False,
    None,
    [],
    [[], ["a", None]],
]


@pytest.fixture(autouse=True)
def graph(runtime: Runtime) -> None:
    """A journal to ask."""
    runtime.stores.schema.ensure("default")


@pytest.mark.parametrize("value", [*TRAPS, *VALUES])
def test_read_gives_back_what_was_asked(value: Any) -> None:
    """Strings that look like queries, escapes, scripts; numbers at their limits; empty lists."""
    assert cypher.read(default_client(), "default", "RETURN $v AS v", {"v": value}) == [{"v": value}]


@pytest.mark.parametrize("value", TRAPS)
def test_queue_stores_exactly(value: str) -> None:
    """The pipeline's own encoding is as exact as the driver's."""
    client = default_client()
    with client.pipeline() as pipeline:
        cypher.queue(pipeline, "default", ("CREATE (:T {v: $v, w: $w})", {"v": value, "w": 7}))
        pipeline.execute()
    assert cypher.read(client, "default", "MATCH (t:T) RETURN t.v AS v, t.w AS w") == [{"v": value, "w": 7}]


def test_a_query_without_parameters_in_a_pipeline() -> None:
    """No header is sent when there is nothing to bind."""
    with default_client().pipeline() as pipeline:
        cypher.queue(pipeline, "default", ("CREATE (:T {v: 1})", {}))
        pipeline.execute()
    assert cypher.read(default_client(), "default", "MATCH (t:T) RETURN count(t) AS n") == [{"n": 1}]


def test_rows_of_maps_and_long_lists() -> None:
    """Twenty thousand rows in one parameter, in order."""
    rows = [{"n": n, "s": f'"{n}\\'} for n in range(20_000)]
    found = cypher.read(default_client(), "default", "UNWIND $rows AS r RETURN r.n AS n, r.s AS s", {"rows": rows})
    assert found == rows


def test_a_million_characters() -> None:
    """The longest entry, every character of which needs escaping or four bytes."""
    text = '"\\😀\n' * 250_000
    assert cypher.read(default_client(), "default", "RETURN $v AS v", {"v": text}) == [{"v": text}]


def test_a_read_cannot_write() -> None:
    """The server refuses, and the graph stays as it was."""
    with pytest.raises(StorageError):
        cypher.read(default_client(), "default", "CREATE (:T)")
    assert cypher.read(default_client(), "default", "MATCH (t:T) RETURN count(t) AS n") == [{"n": 0}]


def test_a_refused_query_quotes_nothing() -> None:
    """Neither the query nor its parameters stand in the error or in what caused it."""
    with pytest.raises(StorageError) as caught:
        cypher.write(default_client(), "default", "CREATE (:T {v: $zebra}) BROKEN", {"zebra": "zebra"})
    pipeline = default_client().pipeline()
    cypher.queue(pipeline, "default", ("CREATE (:T {v: $zebra}) BROKEN", {"zebra": "zebra"}))
    with pytest.raises(StorageError) as queued, translated():
        pipeline.execute()
    for error in (caught.value, queued.value):
        assert "zebra" not in repr(error)
        assert error.__cause__ is None
        assert error.__suppress_context__

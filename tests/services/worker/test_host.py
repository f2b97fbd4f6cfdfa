"""The worker in both modes: in a thread of this process and in a child of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from backend.domain import Change, ChangeKind, EpisodeStatus
from backend.errors import StorageClosing
from backend.services.current import bound
from backend.services.drain import drain
from backend.services.launch import start_worker
from backend.services.preferences import save_setting
from backend.services.queue import WorkQueue, huey
from backend.services.runtime import Runtime
from backend.services.tasks import end
from backend.settings import CHECKOUT, load_settings
from tests.waiting import until

TEXT = "Dinner with Sarah Miller in Lisbon."

type MakeRuntime = Callable[..., Runtime]


def is_settled(runtime: Runtime) -> bool:
    """Whether nothing waits any more."""
    return runtime.status().pending == 0


@pytest.fixture(params=["thread", "process"])
def working(request: pytest.FixtureRequest, make_runtime: MakeRuntime) -> Iterator[Runtime]:
    """A Runtime whose worker runs, in each mode."""
    runtime = make_runtime(worker=request.param)
    start_worker(runtime)
    assert until(lambda: runtime.gate.holder_pid() is not None)
    yield runtime
    runtime.close()


def test_reads_what_is_saved(working: Runtime) -> None:
    """An entry saved while the worker runs is read, and everybody hears of it."""
    heard: list[Change] = []
    working.events.subscribe(heard.append)
    time.sleep(0.1)
    uuid = working.journal.add(TEXT)
    assert until(lambda: working.journal.status_of(uuid) is EpisodeStatus.DONE)
    assert {c.entity.name for c in working.journal.connections(uuid)} >= {"Sarah Miller", "Lisbon"}
    assert until(lambda: any(change.kind is ChangeKind.READ and change.uuid == uuid for change in heard))


def test_burst_loads_once_and_unloads(working: Runtime) -> None:
    """Twenty entries at once: one load, and nothing resident when the last one has been read."""
    for number in range(20):
        working.journal.add(f"{TEXT} Day {number}.")
    assert until(lambda: is_settled(working))
    assert until(lambda: working.status().model.state.value == "unloaded")
    # The first entries may be read before the last ones are saved; a load each would be twenty.
    assert 1 <= working.status().model.loads <= 3


def test_edit_is_read_again(working: Runtime) -> None:
    """However edits and readings interleave, what stands in the end is read from the last text."""
    uuid = working.journal.add(TEXT)
    for name in ("Berlin", "Madrid", "Oslo"):
        working.journal.edit(uuid, f"Dinner with Tom Baker in {name}.")
    assert until(lambda: is_settled(working))
    names = {connection.entity.name for connection in working.journal.connections(uuid)}
    assert "Oslo" in names
    assert not names & {"Sarah Miller", "Lisbon", "Berlin", "Madrid"}


def test_status_says_who_runs_it(working: Runtime) -> None:
    """This process, or the child by its number."""
    pid = working.gate.holder_pid()
    expected = "this process" if pid == os.getpid() else f"process {pid}"
    assert working.status().worker == expected


def test_stops_quickly_and_leaves_nobody(working: Runtime) -> None:
    """After closing no thread or child of the worker is left, and the gate is open."""
    working.journal.add(TEXT)
    pid = working.gate.holder_pid()
    started_s = time.monotonic()
    working.close()
    assert time.monotonic() - started_s < 5
    assert working.gate.holder_pid() is None
    assert pid is not None
    assert pid == os.getpid() or not psutil.pid_exists(pid)


def test_survives_the_database_server(working: Runtime) -> None:
    """The server is killed between two entries; the second one is read all the same."""
    first = working.journal.add(TEXT)
    assert until(lambda: working.journal.status_of(first) is EpisodeStatus.DONE)
    server_pid = int(working.stores.schema._client.info("server")["process_id"])  # type: ignore[index]
    os.kill(server_pid, signal.SIGKILL)
    second = working.journal.add(TEXT)
    assert until(lambda: working.journal.status_of(second) is EpisodeStatus.DONE)
    assert len(working.journal.page().episodes) == 2


def test_pending_of_a_former_run_is_recovered(make_runtime: MakeRuntime) -> None:
    """Entries whose messages are lost are read by the next worker."""
    runtime = make_runtime(worker="none")
    uuids = [runtime.journal.add(TEXT) for _ in range(3)]
    huey.storage.flush_all()
    assert WorkQueue().awaited() == set()
    runtime.close()
    again = make_runtime(worker="thread")
    start_worker(again)
    assert until(lambda: is_settled(again))
    assert [again.journal.connections(uuid) != () for uuid in uuids] == [True] * 3


def test_second_worker_waits_for_the_first(make_runtime: MakeRuntime, home: Path) -> None:
    """While a child holds the gate the thread waits; when the child ends it takes over."""
    first = make_runtime(worker="process")
    start_worker(first)
    assert until(lambda: first.gate.holder_pid() not in (None, os.getpid()))
    child_pid = first.gate.holder_pid()
    second = make_runtime(worker="thread")
    start_worker(second)
    time.sleep(1.0)
    assert second.gate.holder_pid() == child_pid
    assert not second.gate.is_held
    first.close()
    assert until(lambda: second.gate.is_held)
    uuid = second.journal.add(TEXT)
    assert until(lambda: second.journal.status_of(uuid) is EpisodeStatus.DONE)


def test_child_is_replaced_when_it_is_killed(make_runtime: MakeRuntime) -> None:
    """A killed child is started again and reads on."""
    runtime = make_runtime(worker="process")
    start_worker(runtime)
    assert until(lambda: runtime.gate.holder_pid() is not None)
    former = runtime.gate.holder_pid()
    assert former is not None
    os.kill(former, signal.SIGKILL)
    uuid = runtime.journal.add(TEXT)
    assert until(lambda: runtime.journal.status_of(uuid) is EpisodeStatus.DONE)
    assert runtime.gate.holder_pid() != former


def test_child_ends_with_its_parent(home: Path) -> None:
    """A parent that is killed leaves no worker behind."""
    code = (
        "import time; from backend.settings import load_settings; from backend.services.runtime import Runtime; "
        "from backend.services.launch import start_worker\n"
        "r = Runtime(load_settings(worker='process')); r.open(); start_worker(r)\n"
        "while r.gate.holder_pid() is None: time.sleep(0.05)\n"
        "print(r.gate.holder_pid(), r.stores.schema._client.info('server')['process_id'], flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=CHECKOUT)
    assert parent.stdout is not None
    worker_pid, server_pid = map(int, parent.stdout.readline().split())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: not psutil.pid_exists(worker_pid), 10)
    # The worker was the last one attached.
    assert until(lambda: not psutil.pid_exists(server_pid), 10)


def test_external_consumer_reads_and_stops(make_runtime: MakeRuntime) -> None:
    """`huey_consumer` in another terminal reads while Charlie is open with no worker, and ends on Ctrl+C."""
    runtime = make_runtime(worker="none")
    uuid = runtime.journal.add(TEXT)
    consumer = start_consumer()
    try:
        assert until(lambda: runtime.journal.status_of(uuid) is EpisodeStatus.DONE)
        assert runtime.status().worker == f"process {consumer.pid}"
    finally:
        consumer.send_signal(signal.SIGINT)
        consumer.wait(15)
    assert runtime.gate.holder_pid() is None


def test_external_consumer_that_waits_can_be_stopped(make_runtime: MakeRuntime) -> None:
    """While Charlie's own worker runs it waits, and one Ctrl+C ends it."""
    runtime = make_runtime(worker="thread")
    start_worker(runtime)
    assert until(lambda: runtime.gate.is_held)
    consumer = start_consumer()
    time.sleep(2.5)
    assert runtime.gate.is_held
    consumer.send_signal(signal.SIGINT)
    assert consumer.wait(15) == 0


def test_who_waits_for_the_gate_takes_no_message(make_runtime: MakeRuntime) -> None:
    """A second worker that is told to end while the first one reads leaves the first one's messages alone."""
    first = make_runtime(worker="process")
    start_worker(first)
    assert until(lambda: first.gate.holder_pid() not in (None, os.getpid()))
    second = make_runtime(worker="thread")
    start_worker(second)
    time.sleep(1.0)
    uuids = [second.journal.add(TEXT) for _ in range(5)]
    started_s = time.monotonic()
    second.close()
    assert time.monotonic() - started_s < 0.8
    assert second._session is None or second._session.reading.tally.read == 0
    third = make_runtime(worker="none")
    assert until(lambda: all(third.journal.status_of(uuid) is EpisodeStatus.DONE for uuid in uuids))


def test_a_worker_that_outlives_its_runtime_starts_nothing(make_runtime: MakeRuntime) -> None:
    """Huey's hook at the end of an abandoned worker begins no new Runtime, and with it no server."""
    runtime = make_runtime(worker="none")
    runtime.close()
    end()
    assert bound() is None


def test_nothing_is_opened_once_closing_has_begun(home: Path) -> None:
    """Quitting before the opening thread has come so far leaves no server behind."""
    runtime = Runtime(load_settings(home=home))
    runtime.close()
    with pytest.raises(StorageClosing):
        runtime.open()
    assert not (home / "database" / "server.lock").exists()


def test_a_lost_message_does_not_fail_the_saving(make_runtime: MakeRuntime, home: Path) -> None:
    """With the queue unreachable an entry is saved all the same, once, and read when the worker looks."""
    runtime = make_runtime(worker="none")
    broken = huey.storage.conn
    huey.storage.conn = redis.Redis(unix_socket_path=str(home / "nowhere.sock"))
    try:
        uuid = runtime.journal.add(TEXT)
    finally:
        huey.storage.conn = broken
    assert len(runtime.journal.page().episodes) == 1
    start_worker(runtime)
    assert WorkQueue().awaited() == set()
    assert drain(runtime).read == 1
    assert runtime.journal.status_of(uuid) is EpisodeStatus.DONE


def start_consumer() -> subprocess.Popen[bytes]:
    """The command that the README gives, on the home in the environment."""
    command = [
        str(Path(sys.executable).with_name("huey_consumer")),
        "backend.services.tasks.huey",
        "-k",
        "thread",
        "-w",
        "1",
    ]
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )


@pytest.mark.parametrize("worker", ["thread", "process"])
def test_model_chosen_elsewhere_is_taken_up(make_runtime: MakeRuntime, home: Path, llm_path: Path, worker: str) -> None:
    """`charlie models use` in another terminal changes who reads, without a restart."""
    runtime = make_runtime(worker=worker)
    start_worker(runtime)
    assert runtime.status().reader == "tagger"
    save_setting(home, "llm_path", str(llm_path))
    assert until(lambda: runtime.status().reader == "llm", 15)
    save_setting(home, "llm_path", None)
    assert until(lambda: runtime.status().reader == "tagger", 15)

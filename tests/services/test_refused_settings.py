"""Settings that cannot be understood any more while Charlie runs: no entry goes where it may not be wanted."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.database.connection import default_client
from backend.domain import EpisodeStatus, ReaderKind
from backend.services.launch import start_worker
from backend.services.runtime import Runtime
from backend.services.status import Board
from backend.services.tasks import extract_nodes_task
from tests.inference.faulty_server import FaultyServer, Reply, completion, faulty_server
from tests.waiting import until

TEXT = "Met Sarah Miller at Cafe Luna in Lisbon after yoga class."

type MakeRuntime = Callable[..., Runtime]


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    """A server that answers."""
    with faulty_server() as server:
        yield server


def write(home: Path, *lines: str) -> None:
    """The person's charlie.toml."""
    home.mkdir(exist_ok=True)
    (home / "charlie.toml").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['llm_url = "http://10.1.2.3:8080/v1"'], "allow_remote"),
        (['llm_url = "127.0.0.1:8080"'], "must look like"),
        (['llm_url = "http://127.0.0.1'], "charlie.toml"),
        (["theme = 5", 'llm_url = "none"'], "llm_url"),
    ],
)
def test_nothing_more_is_sent(
    make_runtime: MakeRuntime, home: Path, faulty: FaultyServer, lines: list[str], words: str
) -> None:
    """The entry waits, the reason is the settings', the tagger's draft shows; once mended it is read."""
    write(home, f'llm_url = "{faulty.url}"')
    runtime = make_runtime(immediate=True)
    first, second = runtime.journal.add(TEXT), runtime.journal.add(TEXT)
    assert "episode_uuid" in extract_nodes_task(first, "default").get()
    n_sent = len(faulty.requests)
    write(home, *lines)
    outcome = extract_nodes_task(second, "default").get()
    assert words in str(outcome["unavailable"])
    assert words in runtime.status().problem
    assert runtime.session.reading.is_paused()
    assert len(faulty.requests) == n_sent
    assert runtime.journal.connections(second)
    write(home, f'llm_url = "{faulty.url}"', "# mended")
    assert "episode_uuid" in extract_nodes_task(second, "default").get()
    assert runtime.status().problem == ""


def test_mended_with_nothing_waiting(make_runtime: MakeRuntime, home: Path, faulty: FaultyServer) -> None:
    """The reason goes when the file is mended, not with the next entry; every process sees it go."""
    write(home, f'llm_url = "{faulty.url}"')
    runtime = make_runtime(immediate=True)
    runtime.session.begin()
    write(home, 'llm_url = "127.0.0.1:8080"')
    assert "must look like" in runtime.status().problem
    write(home, f'llm_url = "{faulty.url}"', "# mended")
    assert runtime.status().problem == ""
    board = Board(default_client()).read()
    assert board is not None
    assert board.problem == ""


def test_an_answer_that_comes_all_the_same(make_runtime: MakeRuntime, home: Path, faulty: FaultyServer) -> None:
    """What was asked before may still be answered or fail: the settings stay what is wrong."""
    write(home, f'llm_url = "{faulty.url}"')
    runtime = make_runtime(immediate=True)
    uuids = [runtime.journal.add(TEXT) for _ in range(2)]
    for uuid, reply in zip(uuids, (completion('{"entities": []}'), (503, {})), strict=True):

        def answer(_body: dict[str, object], reply: Reply = reply) -> Reply:
            write(home, 'llm_url = "127.0.0.1:8080"')
            runtime.follow_settings()
            return reply

        faulty.answer = answer
        extract_nodes_task(uuid, "default").get()
        assert "must look like" in runtime.status().problem
        write(home, f'llm_url = "{faulty.url}"', f"# {uuid}")
        assert runtime.status().problem == ""


def test_nobody_goes_on_by_settings_that_are_being_taken_back(make_runtime: MakeRuntime, home: Path) -> None:
    """Of several that see the change at once, all have it when they go on."""
    runtime = make_runtime(immediate=True)
    n_before = runtime.settings.n_ctx_tokens
    # Long to read: the first is still at it when the others ask.
    write(home, f"n_ctx_tokens = {2 * n_before}", *["# a line of no use"] * 200_000)
    together = threading.Barrier(4)

    def follow(_thread: int) -> int:
        together.wait(5)
        runtime.follow_settings()
        return runtime.settings.n_ctx_tokens

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(follow, range(4))) == [2 * n_before] * 4


def test_what_is_under_way_is_cut_off(make_runtime: MakeRuntime, home: Path, faulty: FaultyServer) -> None:
    """A request that waits for its answer ends within seconds, and is not counted as a failure of its entry."""
    write(home, f'llm_url = "{faulty.url}"')
    runtime = make_runtime(worker="thread")
    warm = runtime.journal.add(TEXT)
    start_worker(runtime)
    assert until(lambda: runtime.journal.status_of(warm) is EpisodeStatus.DONE)
    faulty.held = threading.Event()
    uuid = runtime.journal.add(TEXT)
    assert until(lambda: runtime.status().reading_uuid == uuid and runtime.status().model.kind == "llm")
    time.sleep(0.3)
    write(home, 'llm_url = "http://10.1.2.3:8080/v1"')
    assert until(lambda: "allow_remote" in runtime.status().problem, 5)
    assert until(lambda: runtime.status().reading_uuid == "", 5)
    n_sent = len(faulty.requests)
    faulty.held.set()
    faulty.held = None
    time.sleep(2.5)
    assert len(faulty.requests) <= n_sent + 1
    entry = runtime.journal.ledger_entry(uuid)
    assert entry is not None
    assert (entry.status, entry.attempts) == (EpisodeStatus.PENDING_NODES, 0)
    write(home, f'llm_url = "{faulty.url}"')
    assert until(lambda: runtime.journal.status_of(uuid) is EpisodeStatus.DONE)


def test_a_server_that_is_named_no_more(make_runtime: MakeRuntime, home: Path, faulty: FaultyServer) -> None:
    """What it is at is cut off too, and the entry read by what the settings name now."""
    write(home, f'llm_url = "{faulty.url}"')
    runtime = make_runtime(worker="thread")
    start_worker(runtime)
    faulty.held = threading.Event()
    uuid = runtime.journal.add(TEXT)
    assert until(lambda: runtime.status().reading_uuid == uuid and runtime.status().model.kind == "llm")
    write(home, "# the tagger is enough")
    assert until(lambda: runtime.journal.status_of(uuid) is EpisodeStatus.DONE, 10)
    assert runtime.status().reader == "tagger"
    assert {connection.mentions[0].reader for connection in runtime.journal.connections(uuid)} == {ReaderKind.TAGGER}


def test_other_mistakes_stop_no_model_here(make_runtime: MakeRuntime, home: Path, llm_path: Path) -> None:
    """With a model on this machine a mistake about something else leaves the reading alone; one about it does not."""
    write(home, f'llm_path = "{llm_path}"', "n_ctx_tokens = 8192", "max_answer_tokens = 4096")
    runtime = make_runtime(immediate=True)
    first, second = runtime.journal.add(TEXT), runtime.journal.add(TEXT)
    write(home, f'llm_path = "{llm_path}"', "nonsense = true")
    assert "episode_uuid" in extract_nodes_task(first, "default").get()
    write(home, f'llm_path = "{llm_path}"', "n_ctx_tokens = 5")
    assert "n_ctx_tokens" in str(extract_nodes_task(second, "default").get()["unavailable"])

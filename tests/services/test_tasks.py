"""Tasks called synchronously, as a tester calls them: what comes back, and what is written."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from backend import add_journal_entry
from backend.database.redis_ops import get_episode_status, set_episode_status
from backend.domain import EpisodeStatus
from backend.inference.manager import MODELS
from backend.services.current import current
from backend.services.queue import huey
from backend.services.runtime import Runtime
from backend.services.tasks import draft_nodes_task, extract_nodes_task
from backend.settings import DEFAULT_JOURNAL

TEXT = "Dinner with Sarah Miller in Lisbon. Sarah Miller was tired after the flight."


def read(uuid: str, journal: str = DEFAULT_JOURNAL) -> dict[str, object]:
    """The task's result, synchronously."""
    result: dict[str, object] = extract_nodes_task(uuid, journal).get()
    return result


def test_saving_enqueues_nothing_in_immediate_mode(runtime_immediate: Runtime) -> None:
    """The ledger knows the entry; no message is sent and nothing is read."""
    uuid = runtime_immediate.journal.add(TEXT)
    assert get_episode_status(uuid) == "pending_nodes"
    assert huey.pending_count() == 0
    assert runtime_immediate.journal.connections(uuid) == ()


def test_reading_returns_counts_and_leaves_the_ledger(runtime_immediate: Runtime) -> None:
    """The dict has four keys, the counts are integers that add up, and the graph has the mentions."""
    uuid = runtime_immediate.journal.add(TEXT)
    result = read(uuid)
    assert set(result) == {"episode_uuid", "extracted_count", "new_entities", "resolved_count"}
    assert result["episode_uuid"] == uuid
    assert result["extracted_count"] == result["new_entities"] == len(runtime_immediate.journal.connections(uuid))
    assert result["resolved_count"] == 0
    assert get_episode_status(uuid) is None
    surfaces = {mention.surface for found in runtime_immediate.journal.connections(uuid) for mention in found.mentions}
    assert {"Sarah Miller", "Lisbon"} <= surfaces


def test_second_reading_finds_nothing_to_do(runtime_immediate: Runtime) -> None:
    """A doubled message does no harm."""
    uuid = runtime_immediate.journal.add(TEXT)
    read(uuid)
    assert read(uuid) == {"already_processed": True}
    assert read("nobody") == {"already_processed": True}


def test_known_entities_are_resolved(runtime_immediate: Runtime) -> None:
    """The second entry about the same people makes nobody new."""
    first = runtime_immediate.journal.add(TEXT)
    second = runtime_immediate.journal.add(TEXT)
    n_found = read(first)["extracted_count"]
    again = read(second)
    assert (again["new_entities"], again["resolved_count"]) == (0, n_found)


def test_models_are_unloaded_when_nothing_waits(runtime_immediate: Runtime) -> None:
    """Held while an entry waits, gone when the last one has been read."""
    first, second = (runtime_immediate.journal.add(TEXT) for _ in range(2))
    read(first)
    assert MODELS["tagger"]["model"] is not None
    read(second)
    assert MODELS["tagger"]["model"] is None
    assert runtime_immediate.status().model.loads == 1


def test_public_function_saves(runtime_immediate: Runtime) -> None:
    """`add_journal_entry` is async, takes every documented argument and returns the uuid."""
    when = datetime(2020, 2, 29, 23, 59, tzinfo=UTC)
    uuid = asyncio.run(
        add_journal_entry(TEXT, reference_time=when, journal="diary", title="Trip", source="test", uuid="my-uuid")
    )
    episode = runtime_immediate.journal.get(uuid)
    assert (uuid, episode.journal, episode.title, episode.source) == ("my-uuid", "diary", "Trip", "test")
    assert episode.valid_at == when


def test_nothing_bound_binds_a_default(make_runtime: Callable[..., Runtime]) -> None:
    """A script that only uses the fixed names gets a Runtime over the home in its environment."""
    made = make_runtime(immediate=True)
    made.close()
    default = current()
    try:
        assert default is not made
        assert default.settings.home == made.settings.home
        assert current() is default
    finally:
        default.close()


def test_status_set_by_a_script_is_read(runtime_immediate: Runtime) -> None:
    """An entry put back by hand through the fixed functions is read again."""
    uuid = runtime_immediate.journal.add(TEXT)
    read(uuid)
    set_episode_status(uuid, "pending_nodes", journal=DEFAULT_JOURNAL)
    assert read(uuid)["new_entities"] == 0
    assert get_episode_status(uuid) is None


def test_entry_without_a_node_is_dropped(runtime_immediate: Runtime) -> None:
    """It was never acknowledged."""
    set_episode_status("ghost", "pending_nodes", journal=DEFAULT_JOURNAL)
    runtime_immediate.stores.schema.ensure(DEFAULT_JOURNAL)
    assert read("ghost") == {"already_processed": True}
    assert get_episode_status("ghost") is None


def test_not_before_it_is_due(runtime_immediate: Runtime) -> None:
    """A message that comes before the retry is due leaves the entry alone."""
    uuid = runtime_immediate.journal.add(TEXT)
    runtime_immediate.stores.ledger.move(uuid, EpisodeStatus.PENDING_NODES, due_at_s=4_000_000_000)
    assert read(uuid) == {"already_processed": True}
    assert get_episode_status(uuid) == "pending_nodes"


def test_draft_needs_an_instruct_model(runtime_immediate: Runtime) -> None:
    """Where the tagger has the last word there is no draft."""
    uuid = runtime_immediate.journal.add(TEXT)
    assert draft_nodes_task(uuid, DEFAULT_JOURNAL).get() == {"already_processed": True}


def test_missing_model_pauses_and_keeps_the_entry(make_runtime: Callable[..., Runtime], tmp_path: object) -> None:
    """The draft stands, the entry waits, and the reason says what to do."""
    runtime = make_runtime(immediate=True, llm_path=f"{tmp_path}/none.gguf")
    uuid = runtime.journal.add(TEXT)
    result = read(uuid)
    assert "charlie models use" in str(result["unavailable"])
    entry = runtime.journal.ledger_entry(uuid)
    assert entry is not None
    assert (entry.status, entry.attempts) == (EpisodeStatus.PENDING_NODES, 0)
    assert runtime.journal.connections(uuid) != ()
    assert runtime.session.reading.problem == result["unavailable"]
    assert runtime.session.reading.is_paused()


@pytest.mark.parametrize(
    "text", ["$source `x` {y: 'z'} \"w\" \\ [bold] [/etc]", "Ünï 🙂 \u202eabc\u0301 日本語", "a\r\nb\tc\u2028d"]
)
def test_any_text_is_read_and_kept(runtime_immediate: Runtime, text: str) -> None:
    """Signs that mean something to Cypher, Rich or a terminal are stored and read as text."""
    uuid = runtime_immediate.journal.add(text)
    assert "extracted_count" in read(uuid)
    assert runtime_immediate.journal.get(uuid).text == text


def test_results_carry_no_words(runtime: Runtime) -> None:
    """What Huey stores of a message has the uuid and never the text."""
    runtime.journal.add("xyzzymarker " + TEXT)
    queued = b"".join(bytes(item) for item in huey.storage.enqueued_items())
    assert queued
    assert b"xyzzymarker" not in queued

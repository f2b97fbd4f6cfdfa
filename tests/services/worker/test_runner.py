"""Reading with an instruct model through real llama.cpp: drafts, failures, pauses."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend.domain import EpisodeStatus, Provenance, ReaderKind, Reading
from backend.services.drain import DrainProgress, drain
from backend.services.launch import start_worker
from backend.services.runtime import Runtime
from backend.services.tasks import draft_nodes_task, extract_nodes_task
from backend.services.worker import policy

TEXT = "Met Sarah Miller at Cafe Luna in Lisbon after yoga class."

type MakeRuntime = Callable[..., Runtime]


def read(uuid: str) -> dict[str, object]:
    """The task's result, synchronously."""
    result: dict[str, object] = extract_nodes_task(uuid, "default").get()
    return result


def readers_of(runtime: Runtime, uuid: str) -> set[str]:
    """Who made the mentions of an entry."""
    return {mention.reader for found in runtime.journal.connections(uuid) for mention in found.mentions}


def make_due(runtime: Runtime, uuid: str) -> None:
    """As if the wait before the next try were over."""
    runtime.stores.ledger.move(uuid, EpisodeStatus.PENDING_NODES, due_at_s=0)


def test_draft_first_then_the_final_reading(make_runtime: MakeRuntime, llm_path: Path) -> None:
    """The tagger's names show at once; the instruct model has the last word, here that nothing is named."""
    runtime = make_runtime(immediate=True, llm_path=llm_path, n_ctx_tokens=8192, max_answer_tokens=4096)
    uuid = runtime.journal.add(TEXT)
    assert draft_nodes_task(uuid, "default").get() == {"drafted": True}
    assert readers_of(runtime, uuid) == {"tagger"}
    assert runtime.journal.status_of(uuid) is EpisodeStatus.PENDING_NODES
    assert read(uuid)["episode_uuid"] == uuid
    assert runtime.journal.status_of(uuid) is EpisodeStatus.DONE
    assert readers_of(runtime, uuid) <= {"llm"}
    # What only the draft knew is gone with it.
    assert all(entity.n_episodes for entity in runtime.journal.entities())
    assert runtime.status().reader == ReaderKind.LLM.value


def test_failures_wait_longer_each_time_and_end(make_runtime: MakeRuntime, wordy_llm_path: Path) -> None:
    """A first try and five more, after 1 to 16 s; then the entry is set aside with the reason, and may be retried."""
    runtime = make_runtime(immediate=True, llm_path=wordy_llm_path)
    uuid = runtime.journal.add(TEXT)
    for delay_s in policy.RETRY_DELAYS_S:
        assert read(uuid)["retry_in_s"] == delay_s
        entry = runtime.journal.ledger_entry(uuid)
        assert entry is not None
        assert 0 < entry.due_at_s - time.time() <= delay_s
        assert read(uuid) == {"already_processed": True}
        make_due(runtime, uuid)
    assert "tokens" in str(read(uuid)["dead"])
    assert runtime.status().dead == 1
    assert runtime.status().pending == 0
    # The draft still shows.
    assert readers_of(runtime, uuid) == {"tagger"}
    assert runtime.journal.retry() == 1
    entry = runtime.journal.ledger_entry(uuid)
    assert entry is not None
    assert (entry.status, entry.attempts, entry.reason) == (EpisodeStatus.PENDING_NODES, 0, "")


def test_missing_weights_pause_everything_until_they_are_there(
    make_runtime: MakeRuntime, llm_path: Path, tmp_path: Path
) -> None:
    """Entries wait, not one attempt is counted, and the same worker goes on when the file appears."""
    absent = tmp_path / "absent.gguf"
    runtime = make_runtime(immediate=True, llm_path=absent, n_ctx_tokens=8192, max_answer_tokens=4096)
    uuids = [runtime.journal.add(TEXT) for _ in range(2)]
    assert str(absent) in str(read(uuids[0])["unavailable"])
    assert "unavailable" in read(uuids[1])
    assert runtime.status().problem
    assert runtime.status().pending == 2
    absent.hardlink_to(llm_path)
    assert [read(uuid)["episode_uuid"] for uuid in uuids] == uuids
    assert runtime.status().problem == ""


def test_after_fourteen_days_each_that_waits_is_given_up(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    """Whichever entry is tried: those that no model could read for so long are set aside, once; the others wait."""
    runtime = make_runtime(immediate=True, llm_path=tmp_path / "absent.gguf")
    young, *old = [runtime.journal.add(TEXT) for _ in range(4)]
    long_ago = repr(time.time() - policy.MAX_UNAVAILABLE_S - 60)
    for uuid in old:
        runtime.stores.ledger.update(uuid, {"created_at": long_ago})
    assert "unavailable" in read(young)
    assert (runtime.status().pending, runtime.status().dead) == (1, 3)
    assert {runtime.journal.status_of(uuid) for uuid in old} == {EpisodeStatus.DEAD}
    entry = runtime.journal.ledger_entry(old[0])
    assert entry is not None
    assert "14 days" in entry.reason
    assert runtime.session.reading.tally.dead == 3
    # Revived by the person, it waits as if it were new.
    assert runtime.journal.retry() == 3
    runtime.session.reading.use(runtime.settings)
    assert "unavailable" in read(young)
    assert runtime.status().dead == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not a model at all, only words", "GGUF"),
        (b"GGUF\x03\x00\x00\x00", "truncated"),
    ],
)
def test_damaged_weights_say_so(make_runtime: MakeRuntime, tmp_path: Path, content: bytes, reason: str) -> None:
    """Empty, foreign and truncated files are told apart, in one line, and the entry waits."""
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    runtime = make_runtime(immediate=True, llm_path=path)
    uuid = runtime.journal.add(TEXT)
    problem = str(read(uuid)["unavailable"])
    assert reason in problem
    assert "\n" not in problem
    assert runtime.status().pending == 1


def test_long_entry_is_read_in_pieces(make_runtime: MakeRuntime, llm_path: Path) -> None:
    """An entry many times the context is neither cut nor failed for its length."""
    runtime = make_runtime(immediate=True, llm_path=llm_path, n_ctx_tokens=2048, max_answer_tokens=900)
    text = " ".join(f"On day {number} I met Sarah Miller in Lisbon." for number in range(60))
    uuid = runtime.journal.add(text)
    outcome = read(uuid)
    while "retry_in_s" in outcome:
        assert "context" not in str(outcome["failed"])
        make_due(runtime, uuid)
        outcome = read(uuid)
    assert "episode_uuid" in outcome or "limit" in str(outcome["dead"])


def test_edit_during_a_reading_is_read_again(make_runtime: MakeRuntime, slow_llm_path: Path) -> None:
    """What was read of the old text is not written over the new one."""
    runtime = make_runtime(worker="thread", llm_path=slow_llm_path)
    uuid = runtime.journal.add(TEXT)
    start_worker(runtime)
    deadline_s = time.monotonic() + 30
    while runtime.status().model.state.value != "busy" and time.monotonic() < deadline_s:
        time.sleep(0.01)
    runtime.journal.edit(uuid, "Met Tom Baker in Oslo.")
    entry = runtime.journal.ledger_entry(uuid)
    assert entry is not None
    assert (entry.revision, entry.drafted_revision) == (2, 0)
    started_s = time.monotonic()
    runtime.close()
    assert time.monotonic() - started_s < 3
    again = make_runtime(immediate=True)
    assert read(uuid)["episode_uuid"] == uuid
    assert {"Tom Baker", "Oslo"} <= {found.entity.name for found in again.journal.connections(uuid)}


class DefectiveModels:
    """Hands out a reader with a defect, whose error quotes the entry."""

    provenance = Provenance(ReaderKind.TAGGER, "defective", "")

    @contextmanager
    def lease(self, kind: str) -> Iterator["DefectiveModels"]:
        """Itself."""
        yield self

    def read(self, text: str, reference_time: object, *, stopping: Callable[[], bool]) -> Reading:
        """Raises."""
        raise ValueError(text)

    def cleanup_if_no_work(self) -> bool:
        """Nothing is loaded."""
        return False


def test_a_defect_counts_as_a_failure_and_is_not_quoted(make_runtime: MakeRuntime) -> None:
    """What is no error of ours neither hangs the entry for ever nor puts its words into reason or log."""
    runtime = make_runtime(immediate=True)
    uuid = runtime.journal.add(TEXT)
    reading = runtime.session.reading
    reading._manager = DefectiveModels()  # type: ignore[assignment]
    outcome = read(uuid)
    assert str(outcome["failed"]).startswith("ValueError at test_runner.py:")
    entry = runtime.journal.ledger_entry(uuid)
    assert entry is not None
    assert (entry.attempts, "Sarah" in entry.reason) == (1, False)


def test_what_waits_is_read_together(make_runtime: MakeRuntime, llm_path: Path) -> None:
    """A burst of entries: one load, instructions read once, several in work at a time, each read once."""
    runtime = make_runtime(worker="thread", llm_path=llm_path, n_ctx_tokens=8192, max_answer_tokens=4096)
    uuids = [runtime.journal.add(f"{TEXT} Day {number}.") for number in range(6)]
    together: list[int] = []

    def look(progress: DrainProgress) -> None:
        together.append(len(runtime.session.reading.in_work))

    report = drain(runtime, look)
    assert (report.read, report.dead, report.pending, report.problem) == (6, 0, 0, "")
    # One of the tagger, for the drafts, and one of the instruct model.
    assert report.loads == 2
    assert max(together) > 1
    assert report.tokens.reused > report.tokens.prompt / 2
    assert {runtime.journal.status_of(uuid) for uuid in uuids} == {EpisodeStatus.DONE}
    assert report.rss_mb_after <= report.rss_mb_peak


def test_an_entry_that_was_in_a_crash_is_read_alone(make_runtime: MakeRuntime, llm_path: Path) -> None:
    """Then it is known which one it was, should it happen again."""
    runtime = make_runtime(worker="none", llm_path=llm_path)
    uuids = [runtime.journal.add(TEXT) for _ in range(3)]
    runtime.stores.ledger.update(uuids[1], {"crashes": 1})
    entries = {uuid: runtime.journal.ledger_entry(uuid) for uuid in uuids}
    companions = runtime.session.reading.companions(entries[uuids[0]])  # type: ignore[arg-type]
    assert [entry.uuid for entry in companions] == [uuids[2]]
    assert runtime.session.reading.companions(entries[uuids[1]]) == []  # type: ignore[arg-type]

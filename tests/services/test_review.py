"""A person's word on what readers were not sure of, with undo, over the real server and the shipped tagger."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from backend.domain import ChangeKind, Doubt, EntityType, EpisodeStatus, Origin, Provenance, ReaderKind, Span
from backend.errors import EntityNotFound, EpisodeNotFound
from backend.graph.names import key_of
from backend.services.drain import drain
from backend.services.journal import Undone
from backend.services.runtime import Runtime

TAGGER = Provenance(ReaderKind.TAGGER, "0123", "")
NOW = datetime(2026, 3, 14, 9, tzinfo=UTC)
TEXT = "Juno met Sarah Miller, and Juno was late"


def read(runtime: Runtime, uuid: str, *names: str, type_: EntityType = EntityType.PERSON) -> None:
    """What a worker does whose reader is not sure of these names; the entry leaves the ledger."""
    episode = runtime.journal.get(uuid)
    unsure = [
        Doubt(
            key_of(name), name, type_, tuple(Span(at, at + len(name), name, 0.25) for at in places(episode.text, name))
        )
        for name in names
    ]
    waiting = runtime.stores.ledger.get(uuid)
    assert waiting is not None
    write = runtime.stores.write_reading
    assert write(uuid, episode.journal, waiting.revision, (), TAGGER, is_draft=False, unsure=unsure)
    assert runtime.stores.ledger.finish(uuid, waiting.revision)


def places(text: str, name: str) -> list[int]:
    """Where a name stands."""
    return [at for at in range(len(text)) if text.startswith(name, at)]


def of(runtime: Runtime, uuid: str) -> list[str]:
    """What waits in an entry."""
    return [doubt.name for doubt in runtime.review.of(uuid)]


def mentioned(runtime: Runtime, uuid: str) -> dict[str, int]:
    """What an entry mentions, and how often."""
    return {c.entity.name: len(c.mentions) for c in runtime.journal.connections(uuid)}


@pytest.fixture
def uuid(runtime_immediate: Runtime) -> str:
    """An entry in which two names wait."""
    entry = runtime_immediate.journal.add(TEXT, valid_at=NOW)
    read(runtime_immediate, entry, "Juno", "Sarah Miller")
    return entry


def test_an_accepted_name_is_one_of_the_journal(runtime_immediate: Runtime, uuid: str) -> None:
    """Wherever it stands in the entry; the next entry that names it as surely as never is sure of it; undo undoes."""
    runtime = runtime_immediate
    entity = runtime.review.accept(uuid, runtime.review.of(uuid)[0])
    assert mentioned(runtime, uuid) == {"Juno": 2}
    assert {m.origin for c in runtime.journal.connections(uuid) for m in c.mentions} == {Origin.PERSON}
    assert runtime.journal.entity("juno").uuid == entity
    assert of(runtime, uuid) == ["Sarah Miller"]
    assert runtime.journal.undo() == Undone("accept", uuid)
    assert mentioned(runtime, uuid) == {}
    assert of(runtime, uuid) == ["Juno", "Sarah Miller"]
    with pytest.raises(EntityNotFound):
        runtime.journal.entity("juno")


def test_accepting_joins_whom_the_journal_knows_by_then(runtime_immediate: Runtime, uuid: str) -> None:
    """The same name and type in another entry is the same entity; of another type it is another."""
    runtime = runtime_immediate
    other = runtime.journal.add("Juno again", valid_at=NOW)
    read(runtime, other, "Juno")
    third = runtime.journal.add("To Juno by train", valid_at=NOW)
    read(runtime, third, "Juno", type_=EntityType.PLACE)
    first, second, place = (runtime.review.accept(one, runtime.review.of(one)[0]) for one in (uuid, other, third))
    assert first == second != place
    runtime.journal.undo()
    runtime.journal.undo()
    assert runtime.journal.entity("juno").n_episodes == 1


def test_a_dismissed_name_stays_away_until_undo(runtime_immediate: Runtime, uuid: str) -> None:
    """Every reading afterwards leaves it out."""
    runtime = runtime_immediate
    runtime.review.dismiss(uuid, runtime.review.of(uuid)[0])
    runtime.journal.edit(uuid, TEXT, title="Read me again")
    read(runtime, uuid, "Juno", "Sarah Miller")
    assert of(runtime, uuid) == ["Sarah Miller"]
    assert runtime.journal.undo() == Undone("edit", uuid)
    assert runtime.journal.undo() == Undone("dismiss", uuid)
    assert of(runtime, uuid) == ["Juno", "Sarah Miller"]


def test_a_decision_is_told_and_made_once(runtime_immediate: Runtime, uuid: str) -> None:
    """Screens hear of it; a second window that decides the same finds nothing to decide."""
    runtime = runtime_immediate
    seen: list[tuple[ChangeKind, str]] = []
    stop = runtime.events.subscribe(lambda change: seen.append((change.kind, change.uuid)))
    juno, sarah = runtime.review.of(uuid)
    runtime.review.accept(uuid, juno)
    runtime.review.dismiss(uuid, sarah)
    for decide in (runtime.review.accept, runtime.review.dismiss):
        for doubt in (juno, sarah):
            with pytest.raises(EntityNotFound):
                decide(uuid, doubt)
    stop()
    assert seen.count((ChangeKind.READ, uuid)) == 2
    with pytest.raises(EpisodeNotFound):
        runtime.review.accept("nowhere", juno)


def test_what_waits_is_found_by_its_words(runtime_immediate: Runtime, uuid: str) -> None:
    """In any case, by type where that tells two apart, and not at all in other entries."""
    runtime = runtime_immediate
    assert [doubt.name for doubt in runtime.review.named(uuid, "JUNO")] == ["Juno"]
    assert runtime.review.named(uuid, "juno", EntityType.PLACE) == ()
    assert runtime.review.named(uuid, "Jun") == ()


def test_the_list_spans_journals_newest_first(runtime_immediate: Runtime, uuid: str) -> None:
    """All of them, or one; bounded; of a journal that is not there nothing, and it is not made."""
    runtime = runtime_immediate
    other = runtime.journal.add("Juno", journal="work", valid_at=NOW + timedelta(days=1))
    read(runtime, other, "Juno")
    assert [line.episode_uuid for line in runtime.review.waiting()] == [other, uuid, uuid]
    assert [line.doubt.name for line in runtime.review.waiting(limit=2)] == ["Juno", "Juno"]
    assert [line.journal for line in runtime.review.waiting("work")] == ["work"]
    assert runtime.review.waiting("nowhere") == ()
    assert set(runtime.journal.journals()) == {"default", "work"}
    assert runtime.status().unsure == 4


def test_the_shipped_tagger_sends_what_it_is_not_sure_of_to_review(make_runtime: Callable[..., Runtime]) -> None:
    """With everything below the threshold nothing gets into the graph; at 0 everything does."""
    runtime = make_runtime(review_below=1.0)
    uuid = runtime.journal.add("Went to Berlin with Sarah Miller.")
    drain(runtime)
    assert runtime.journal.status_of(uuid) is EpisodeStatus.DONE
    assert mentioned(runtime, uuid) == {}
    assert "Berlin" in of(runtime, uuid)
    again = make_runtime(review_below=0.0)
    second = again.journal.add("Went to Berlin with Sarah Miller.")
    drain(again)
    assert "Berlin" in mentioned(again, second)
    assert of(again, second) == []


def test_a_doubt_about_a_known_name_is_none(make_runtime: Callable[..., Runtime]) -> None:
    """Once a name is accepted, the next entries that the reader is as unsure of count by themselves."""
    runtime = make_runtime(review_below=1.0)
    first = runtime.journal.add("Went to Berlin with Sarah Miller.")
    drain(runtime)
    berlin = next(doubt for doubt in runtime.review.of(first) if doubt.name == "Berlin")
    runtime.review.accept(first, berlin)
    second = runtime.journal.add("Berlin again, by the early train.")
    drain(runtime)
    assert mentioned(runtime, second) == {"Berlin": 1}

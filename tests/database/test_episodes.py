"""Entries in the graph: exactness, revisions, paging by date, undo's memory, purging."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from backend.database import cypher, keys
from backend.database.connection import default_client
from backend.database.episodes import UNDO_DEPTH, Episodes, from_us, to_us
from backend.database.stores import Stores
from backend.domain import Episode, EpisodeStatus, PageCursor
from backend.errors import EpisodeNotFound, StorageError
from backend.services.runtime import Runtime

JOURNAL = "default"
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def stores(runtime: Runtime) -> Stores:
    """The stores of a fresh home with one journal."""
    runtime.stores.schema.ensure(JOURNAL)
    return runtime.stores


@pytest.fixture
def episodes(stores: Stores) -> Episodes:
    """The entries of that journal."""
    return stores.episodes


def entry(uuid: str, valid_at: datetime = NOW, text: str = "text", revision: int = 1, title: str = "") -> Episode:
    """An entry as the service makes it."""
    return Episode(uuid, JOURNAL, text, title, valid_at, NOW, revision, "screen")


def all_pages(episodes: Episodes, limit: int) -> list[str]:
    """The uuids of every page, in order."""
    found: list[str] = []
    cursor: PageCursor | None = None
    while True:
        page = episodes.page(JOURNAL, cursor, limit)
        assert len(page.episodes) <= limit
        found.extend(summary.uuid for summary in page.episodes)
        if page.next is None:
            return found
        assert len(page.episodes) == limit
        cursor = page.next


def newest_first(entries: list[Episode]) -> list[str]:
    """What paging should give."""
    return [one.uuid for one in sorted(entries, key=lambda one: (one.valid_at, one.uuid), reverse=True)]


def write_all(entries: list[Episode]) -> None:
    """Many entries at once, as `create` writes one."""
    rows = [{"uuid": one.uuid, "at": to_us(one.valid_at)} for one in entries]
    query = (
        "UNWIND $rows AS r CREATE (:Episode {uuid: r.uuid, text: 'x', title: '', valid_at: r.at, utc_offset_s: 0, "
        "created_at: 0, revision: 1, source: 'test'})"
    )
    cypher.write(default_client(), JOURNAL, query, {"rows": rows})


@pytest.mark.parametrize("hours", [-12, -3.5, 0, 5.75, 14])
def test_the_writers_offset_and_day_are_kept(episodes: Episodes, hours: float) -> None:
    """Late in the evening somewhere is that day, whatever the day is in UTC."""
    valid_at = datetime(2024, 2, 29, 23, 30, 15, 123456, tzinfo=timezone(timedelta(hours=hours)))
    episodes.create(entry("a", valid_at))
    got = episodes.get("a", JOURNAL)
    assert got.valid_at.isoformat() == valid_at.isoformat()
    assert got.local_day.isoformat() == "2024-02-29"
    day = cypher.read(default_client(), JOURNAL, "MATCH (e:Episode) RETURN e.local_day AS day")
    assert day == [{"day": "2024-02-29"}]


@pytest.mark.parametrize("year", [2, 1583, 1969, 1970, 2255, 9998])
def test_microseconds_are_exact_in_every_year(year: int) -> None:
    """No float is involved."""
    moment = datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert from_us(to_us(moment)) == moment


def test_create_writes_node_and_ledger(stores: Stores) -> None:
    """Both are there, at revision 1."""
    stores.episodes.create(entry("a"))
    waiting = stores.ledger.get("a")
    assert waiting is not None
    assert (waiting.status, waiting.revision) == (EpisodeStatus.PENDING_NODES, 1)
    assert stores.episodes.get("a", JOURNAL) == entry("a")


def test_a_refused_entry_leaves_nothing_behind(stores: Stores) -> None:
    """Neither a ledger entry nor something to undo; the error quotes nothing."""
    bad = Episode("a", JOURNAL, "zebra\0", "", NOW, NOW, 1, "screen")
    with pytest.raises(StorageError) as caught:
        stores.episodes.create(bad)
    assert "zebra" not in str(caught.value)
    assert stores.ledger.get("a") is None
    assert stores.episodes.last_change(JOURNAL) is None


def test_creating_twice_is_creating_once(episodes: Episodes, stores: Stores) -> None:
    """A command that was repeated after a lost answer makes no twin."""
    episodes.create(entry("a"))
    episodes.create(entry("a"))
    assert stores.schema.n_episodes(JOURNAL) == 1


def test_an_edit_of_something_saved_meanwhile_writes_nothing(episodes: Episodes, stores: Stores) -> None:
    """Whoever edits an old state is told, and tries again on the new one."""
    episodes.create(entry("a"))
    assert episodes.edit(entry("a"), entry("a", text="first", revision=2))
    assert not episodes.edit(entry("a"), entry("a", text="second", revision=2))
    assert episodes.get("a", JOURNAL).text == "first"
    waiting = stores.ledger.get("a")
    assert waiting is not None
    assert waiting.revision == 2


def test_get_of_nothing(episodes: Episodes) -> None:
    """The error carries the uuid."""
    with pytest.raises(EpisodeNotFound) as caught:
        episodes.get("nowhere", JOURNAL)
    assert caught.value.uuid == "nowhere"


def test_existing_and_prefixes(episodes: Episodes) -> None:
    """Many uuids in one question; prefixes are literal."""
    write_all([entry(f"id{n}") for n in range(1500)])
    asked = [f"id{n}" for n in range(1000, 2500)]
    assert episodes.existing(JOURNAL, asked) == {f"id{n}" for n in range(1000, 1500)}
    assert episodes.existing(JOURNAL, []) == set()
    assert episodes.with_prefix("id1499", JOURNAL) == ["id1499"]
    assert len(episodes.with_prefix("id", JOURNAL)) == 2
    assert episodes.with_prefix("%", JOURNAL) == []


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
def test_pages_of_random_entries_have_each_once(episodes: Episodes, limit: int) -> None:
    """500 entries over centuries and seconds, many at the same moment: no doubles, no gaps, newest first."""
    dice = random.Random(limit)
    today = datetime.now(UTC).replace(microsecond=0)
    entries = []
    for number in range(500 if limit > 1 else 120):
        days = dice.choice([0, dice.uniform(-30, 30), dice.uniform(-4000, 400), dice.uniform(-200_000, 200_000)])
        moment = today + timedelta(seconds=round(days * 86_400))
        entries.append(entry(f"{dice.randrange(10**6):06}-{number}", dice.choice([moment, today])))
    write_all(entries)
    assert all_pages(episodes, limit) == newest_first(entries)


def test_pages_at_the_ends_of_time(episodes: Episodes) -> None:
    """Year 2 and year 9998, a microsecond apart, with everything in between empty."""
    entries = [
        entry(f"{year}-{us}", datetime(year, 1, 1, 0, 0, 0, us, tzinfo=UTC)) for year in (2, 9998) for us in range(40)
    ]
    write_all(entries)
    assert all_pages(episodes, 3) == newest_first(entries)


def test_the_first_page_has_the_future_too(episodes: Episodes) -> None:
    """A wrong clock or a plan: entries of tomorrow and of next year come first."""
    now = datetime.now(UTC)
    entries = [entry(f"{days}", now + timedelta(days=days)) for days in (-1, 0, 1, 3, 400)]
    write_all(entries)
    assert all_pages(episodes, 2) == ["400", "3", "1", "0", "-1"]


def test_a_full_last_page_ends_the_list(episodes: Episodes) -> None:
    """No empty page follows; an empty journal is one empty page."""
    assert episodes.page(JOURNAL, None, 2).next is None
    write_all([entry("a"), entry("b")])
    assert episodes.page(JOURNAL, None, 2).next is None
    assert episodes.page(JOURNAL, None, 1).next == PageCursor(to_us(NOW), "b")


TALL = ["😀" * 500, "e\u0301" * 500, "👩‍👩‍👧" * 300, "שלום " * 200, "[/etc] [bold]x\n$source `a`"]


@pytest.mark.parametrize("text", TALL, ids=["emoji", "combining", "joined", "hebrew", "markup"])
def test_summaries_of_texts_in_many_scripts(episodes: Episodes, text: str) -> None:
    """The head is cut between code points."""
    episodes.create(entry("a", text=text))
    (summary,) = episodes.page(JOURNAL, None, 10).episodes
    first_line = text.splitlines()[0]
    assert first_line.startswith(summary.title.removesuffix("…"))
    assert summary.status is EpisodeStatus.PENDING_NODES


def test_mentioning_pages_like_the_list(episodes: Episodes) -> None:
    """Each entry once however often it mentions, with ties, newest first."""
    entries = [entry(f"{n:03}", NOW + timedelta(days=n // 5)) for n in range(60)]
    write_all(entries)
    query = (
        "CREATE (x:Entity {uuid: 'x'}) WITH x MATCH (e:Episode) "
        "CREATE (e)-[:MENTIONS {start: 0}]->(x) CREATE (e)-[:MENTIONS {start: 5}]->(x)"
    )
    cypher.write(default_client(), JOURNAL, query)
    found: list[str] = []
    cursor: PageCursor | None = None
    for _ in range(9):
        page = episodes.mentioning("x", JOURNAL, cursor, 7)
        found.extend(summary.uuid for summary in page.episodes)
        cursor = page.next
    assert found == newest_first(entries)
    assert cursor is None
    assert episodes.mentioning("nobody", JOURNAL, None, 7).episodes == ()


def test_a_deleted_entry_is_hidden_and_restored_as_it_was(stores: Stores) -> None:
    """Out of lists, counts and ledger, then back; a reading begun before does not fit any more."""
    stores.episodes.create(entry("a"))
    stores.episodes.delete("a", JOURNAL, was_pending=True)
    assert stores.schema.n_episodes(JOURNAL) == 0
    assert all_pages(stores.episodes, 5) == []
    assert stores.ledger.get("a") is None
    stores.episodes.restore("a", JOURNAL, is_pending=True)
    assert stores.episodes.get("a", JOURNAL).text == "text"
    waiting = stores.ledger.get("a")
    assert waiting is not None
    assert waiting.revision == stores.episodes.get("a", JOURNAL).revision > 1


def test_restoring_what_was_never_deleted(episodes: Episodes) -> None:
    """It says so and makes nothing."""
    with pytest.raises(EpisodeNotFound):
        episodes.restore("a", JOURNAL, is_pending=True)


def test_purge_takes_what_was_deleted_before_then(stores: Stores) -> None:
    """The kept ones can still come back; of the purged nothing is left, undo's memory included."""
    for uuid in ("old", "young", "there"):
        stores.episodes.create(entry(uuid))
    stores.episodes.edit(entry("old", text="text"), entry("old", text="other", revision=2))
    stores.episodes.delete("old", JOURNAL, was_pending=False)
    stores.episodes.delete("young", JOURNAL, was_pending=False)
    cypher.write(default_client(), JOURNAL, "MATCH (d:Deleted {uuid: 'old'}) SET d.deleted_at = 0")
    assert stores.episodes.purge(JOURNAL, deleted_before=NOW) == 1
    assert not stores.episodes.is_deleted("old", JOURNAL)
    assert stores.episodes.is_deleted("young", JOURNAL)
    assert stores.schema.n_episodes(JOURNAL) == 1
    assert not [raw for raw in default_client().lrange(keys.undo(JOURNAL), 0, -1) if '"old"' in raw]


def test_undo_remembers_the_last_hundred(episodes: Episodes) -> None:
    """The list does not grow with the journal."""
    for number in range(UNDO_DEPTH + 20):
        episodes.record_change(JOURNAL, {"kind": "reject", "uuid": str(number), "entity": "x"})
    assert default_client().llen(keys.undo(JOURNAL)) == UNDO_DEPTH
    change = episodes.last_change(JOURNAL)
    assert change is not None
    assert change["uuid"] == str(UNDO_DEPTH + 19)
    episodes.forget_change(JOURNAL, change)
    assert default_client().llen(keys.undo(JOURNAL)) == UNDO_DEPTH - 1

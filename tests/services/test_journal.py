"""What the screens and the command line may do: everything stored exactly, nothing half, nothing told in an error."""

import threading
import time
import traceback
from datetime import UTC, datetime, timedelta, timezone

import pytest

from backend.database.connection import default_client
from backend.database.stores import Stores
from backend.domain import ChangeKind, EntityType, EpisodeStatus
from backend.errors import EntityNotFound, EntryInvalid, EpisodeNotFound, StorageError
from backend.services.journal import JournalService, Undone
from backend.services.runtime import Runtime
from tests.services.entries import JOURNAL, names, read

TEXTS = {
    "cypher": "$source '\"` }) MATCH (n) DETACH DELETE n // CYPHER a=1",
    "markup": "[bold]x[/bold] [/etc] # **y** <b>",
    "backslashes": "C:\\new\\\\ \\u0041 \\",
    "emoji": "👩‍👩‍👧🏳️‍🌈 \U0010ffff",
    "rtl": "שלום \u202eabc\u202c عربي",
    "combining": "e\u0301 é ﬁ \u1112\u1161\u11ab",
    "separators": "a\u2028b\u2029c\u0085d\ve\ff",
    "control": "\x01a\x1b[31mb\x7f\x9bc",
    "line ends": "a\r\nb\rc\n\n",
    "spaces": "  \t a \u3000",
    "bom": "\ufeffa\ufffe",
    "long": ('"\\😀\n' * 250_000),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_texts_are_kept_to_the_character(journal: JournalService, stores: Stores, text: str) -> None:
    """Added, got, listed, edited, connected, deleted and brought back: never a changed character."""
    uuid = journal.add("before")
    journal.edit(uuid, text)
    assert journal.get(uuid).text == text
    journal.undo()
    assert journal.get(uuid).text == "before"
    uuid = journal.add(text, title="[/etc] $t")
    read(stores, uuid, text[: min(60, len(text))])
    (summary,) = (one for one in journal.page().episodes if one.uuid == uuid)
    assert summary.title == "[/etc] $t"
    assert summary.status is EpisodeStatus.DONE
    (connection,) = journal.connections(uuid)
    assert connection.mentions[0].surface == text[: min(60, len(text))]
    journal.delete(uuid)
    journal.undo()
    assert journal.get(uuid).text == text


@pytest.mark.parametrize(
    "text", ["", " \n", "a\0", "\ud800", "x" * 1_000_001], ids=["empty", "blank", "null", "half", "long"]
)
def test_what_is_refused_leaves_nothing(journal: JournalService, stores: Stores, text: str) -> None:
    """Neither adding nor editing writes, and there is nothing to undo."""
    with pytest.raises(EntryInvalid):
        journal.add(text)
    assert journal.undo() is None
    uuid = journal.add("good")
    with pytest.raises(EntryInvalid):
        journal.edit(uuid, text)
    assert journal.get(uuid).text == "good"
    assert journal.get(uuid).revision == 1
    assert stores.ledger.count(EpisodeStatus.PENDING_NODES) == 1


@pytest.mark.parametrize("title", ["zebra\0", "zebra\ud800"])
def test_titles_are_checked_as_texts_are(journal: JournalService, title: str) -> None:
    """On adding and on editing; the message holds none of it."""
    uuid = journal.add("good")
    for attempt in (lambda: journal.add("x", title=title), lambda: journal.edit(uuid, "y", title=title)):
        with pytest.raises(EntryInvalid) as caught:
            attempt()
        assert "zebra" not in str(caught.value)
    assert journal.get(uuid).text == "good"


def test_a_blank_title_is_none(journal: JournalService) -> None:
    """The first line serves."""
    uuid = journal.add("line", title="  ")
    assert journal.get(uuid).title == ""
    assert journal.page().episodes[0].title == "line"


@pytest.mark.parametrize("name", ["", " "])
def test_no_journal_named_is_the_default_one(journal: JournalService, name: str) -> None:
    """An empty name counts as none; a blank one is wrong."""
    if name.strip() == name:
        assert journal.get(journal.add("x", journal=name)).journal == JOURNAL
    else:
        with pytest.raises(EntryInvalid):
            journal.add("x", journal=name)


@pytest.mark.parametrize("name", ["../x", "a b", "x" * 65, "a:b"])
def test_wrong_journal_names(journal: JournalService, name: str) -> None:
    """Refused wherever a journal is named, and none is made."""
    for attempt in (journal.page, journal.entities, journal.undo):
        with pytest.raises(EntryInvalid):
            attempt(name)
    with pytest.raises(EntryInvalid):
        journal.add("x", journal=name)
    assert journal.journals() == {}


@pytest.mark.parametrize("moment", [datetime(1, 1, 1), datetime(9999, 12, 31, 23), datetime(1, 6, 1, tzinfo=UTC)])  # noqa: DTZ001 - naive on purpose
def test_dates_outside_the_years(journal: JournalService, moment: datetime) -> None:
    """A clear error, whatever the machine's time zone."""
    with pytest.raises(EntryInvalid, match="years"):
        journal.add("x", valid_at=moment)


def test_a_naive_time_is_the_writers_own(journal: JournalService, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the offset that holds there on that day."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        uuid = journal.add("x", valid_at=datetime(2024, 7, 4, 23, 30))  # noqa: DTZ001 - naive on purpose
    finally:
        monkeypatch.undo()
        time.tzset()
    assert journal.get(uuid).valid_at.isoformat() == "2024-07-04T23:30:00-04:00"
    assert journal.get(uuid).local_day.isoformat() == "2024-07-04"


def test_an_edit_keeps_time_and_title_unless_given(journal: JournalService) -> None:
    """Only the text changes."""
    when = datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    uuid = journal.add("x", title="T", valid_at=when)
    after = journal.edit(uuid, "y")
    assert (after.title, after.valid_at.isoformat(), after.revision) == ("T", when.isoformat(), 2)
    assert journal.get(uuid) == after


def test_an_edit_that_changes_nothing_is_none(journal: JournalService, stores: Stores) -> None:
    """No revision, no reading, nothing to undo."""
    uuid = journal.add("x")
    read(stores, uuid)
    assert journal.edit(uuid, "x").revision == 1
    assert journal.status_of(uuid) is EpisodeStatus.DONE
    assert journal.undo() == Undone("add", uuid)


def test_moving_to_another_zone_is_a_change(journal: JournalService) -> None:
    """The same moment may be another day to the writer."""
    uuid = journal.add("x", valid_at=datetime(2024, 1, 1, 23, tzinfo=UTC))
    journal.edit(uuid, "x", valid_at=datetime(2024, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))))
    assert journal.get(uuid).local_day.isoformat() == "2024-01-02"


def test_edits_from_many_threads_all_count(journal: JournalService, stores: Stores) -> None:
    """None is lost: each raises the revision, and each can be taken back."""
    uuid = journal.add("start")
    barrier = threading.Barrier(4)

    def edit(who: int) -> None:
        barrier.wait()
        for number in range(10):
            journal.edit(uuid, f"{who} {number}")

    threads = [threading.Thread(target=edit, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.get(uuid).revision == 41
    waiting = stores.ledger.get(uuid)
    assert waiting is not None
    assert waiting.revision == 41
    for _ in range(40):
        assert journal.undo() == Undone("edit", uuid)
    assert journal.get(uuid).text == "start"


def test_a_uuid_is_used_once(journal: JournalService) -> None:
    """Neither an entry that is there nor one that can come back is doubled, in any journal."""
    journal.add("x", uuid="mine")
    for name in (JOURNAL, "other"):
        with pytest.raises(EntryInvalid, match="already"):
            journal.add("y", uuid="mine", journal=name)
    journal.delete("mine")
    with pytest.raises(EntryInvalid, match="undo"):
        journal.add("y", uuid="mine")
    with pytest.raises(EntryInvalid, match="uuid"):
        journal.add("y", uuid="a/b")
    journal.undo()
    assert journal.get("mine").text == "x"


def test_what_is_unknown(journal: JournalService) -> None:
    """Each way to ask for an entry that is not there says so."""
    for attempt in (journal.get, journal.delete, journal.connections, journal.retry, journal.resolve_uuid):
        with pytest.raises(EpisodeNotFound):
            attempt("nowhere")
    with pytest.raises(EpisodeNotFound):
        journal.edit("nowhere", "x")
    uuid = journal.add("x")
    with pytest.raises(EntityNotFound) as caught:
        journal.entity("zebra")
    assert "zebra" not in str(caught.value)
    with pytest.raises(EntityNotFound):
        journal.reject(uuid, "nobody")
    assert journal.page("nowhere").episodes == ()
    assert journal.entities("nowhere") == ()
    assert journal.episodes_of("nobody", "nowhere").episodes == ()


def test_a_rejection_holds_for_the_entry_alone(journal: JournalService, stores: Stores) -> None:
    """Re-read, under another type too, it stays out; another entry keeps it."""
    first, second = journal.add("Rome is a cat"), journal.add("Rome again")
    read(stores, first, "Rome")
    read(stores, second, "Rome")
    journal.reject(first, journal.entity("rome").uuid)
    journal.edit(first, "Rome is a cat!")
    read(stores, first, "Rome", type_=EntityType.PLACE)
    assert names(journal, first) == set()
    assert names(journal, second) == {"Rome"}
    assert [s.uuid for s in journal.episodes_of(journal.entity("Rome").uuid).episodes] == [second]


def test_connections_only_where_the_text_still_says_so(journal: JournalService, stores: Stores) -> None:
    """Between an edit and its reading, spans that do not fit any more are not shown."""
    uuid = journal.add("Anna met Ben")
    read(stores, uuid, "Anna", "Ben")
    journal.edit(uuid, "Anna saw Ben")
    assert names(journal, uuid) == {"Anna", "Ben"}
    journal.edit(uuid, "Well, Anna met Ben")
    assert names(journal, uuid) == set()


def test_retry_revives_what_was_given_up(journal: JournalService, stores: Stores) -> None:
    """One or all, with a clean slate; what waits already is left alone."""
    first, second, third = (journal.add(text) for text in "abc")
    for uuid in (first, second):
        stores.ledger.move(uuid, EpisodeStatus.DEAD, fields={"attempts": 6, "crashes": 2, "kills": 1, "reason": "why"})
    assert journal.retry(third) == 0
    assert journal.retry(first) == 1
    assert journal.retry() == 1
    entry = journal.ledger_entry(first)
    assert entry is not None
    assert (entry.status, entry.attempts, entry.crashes, entry.kills, entry.reason) == (
        EpisodeStatus.PENDING_NODES,
        0,
        0,
        0,
        "",
    )


def test_resolve_uuid(journal: JournalService) -> None:
    """A unique beginning is enough, in whichever journal; an exact one wins over longer ones."""
    journal.add("x", uuid="abc1")
    journal.add("x", uuid="abc2", journal="other")
    journal.add("x", uuid="abc")
    assert journal.resolve_uuid("abc2") == "abc2"
    assert journal.resolve_uuid("abc") == "abc"
    for prefix in ("ab", "", "%", "z"):
        with pytest.raises(EpisodeNotFound):
            journal.resolve_uuid(prefix)


def test_every_change_is_told(journal: JournalService, runtime_immediate: Runtime) -> None:
    """Whoever shows entries hears of each save and deletion."""
    told: list[tuple[ChangeKind, str]] = []
    ready = threading.Event()
    runtime_immediate.events.subscribe(lambda change: (told.append((change.kind, change.uuid)), ready.set()))
    assert ready.wait(5)
    uuid = journal.add("x")
    journal.edit(uuid, "y")
    journal.delete(uuid)
    expected = [(ChangeKind.SAVED, uuid), (ChangeKind.SAVED, uuid), (ChangeKind.DELETED, uuid)]
    deadline_s = time.monotonic() + 5
    while told[-3:] != expected and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert told[-3:] == expected


def test_no_error_quotes_the_entry(journal: JournalService, runtime_immediate: Runtime) -> None:
    """A graph that refuses, and a database that is closed: neither the error nor its chain holds the words."""
    uuid = journal.add("zebra")
    default_client().set("graph:wrong", "not a graph")
    with pytest.raises(StorageError) as refused:
        journal.add("zebra", journal="wrong")
    runtime_immediate.close()
    closed = []
    for attempt in (lambda: journal.add("zebra"), lambda: journal.edit(uuid, "zebra two", title="zebra")):
        with pytest.raises(StorageError) as caught:
            attempt()
        closed.append(caught.value)
    for error in (refused.value, *closed):
        shown = "".join(traceback.format_exception(error, chain=True))
        assert "zebra" not in "".join(line for line in shown.splitlines() if "journal." not in line)

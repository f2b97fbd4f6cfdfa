"""What readers were not sure of, in the reader and in the list of its own, through the real screens."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from threading import Event

import pytest
from textual.app import App
from textual.widgets import OptionList

from backend.domain import (
    Connection,
    Doubt,
    Entity,
    EntityType,
    Mention,
    ModelState,
    ModelStatus,
    Origin,
    Provenance,
    ReaderKind,
    Span,
    Status,
)
from backend.graph.names import key_of
from backend.services.runtime import Runtime
from frontend.app import CharlieApp
from frontend.state.marking import doubt_id, marks_of
from frontend.state.wording import activity
from frontend.widgets.connections import MOST_DOUBTS, Connections

Shown = Callable[[App[None]], str]
Until = Callable[[Callable[[], object]], Awaitable[None]]
SIZE = (110, 34)
TEXT = "# A day out\n\nWith **Juno** to Wend, and Juno slept.\n"
TAGGER = Provenance(ReaderKind.TAGGER, "0123", "")


def _add(runtime: Runtime, text: str, *names: str, journal: str = "default") -> str:
    """An entry that was read by someone who was not sure of these names."""
    uuid = runtime.journal.add(text, journal=journal)
    unsure = []
    for name in names:
        spans = tuple(Span(at.start(), at.end(), name, 0.25) for at in re.finditer(name, text))
        unsure.append(Doubt(key_of(name), name, EntityType.PERSON, spans))
    write = runtime.stores.write_reading
    assert write(uuid, journal, 1, (), TAGGER, is_draft=False, unsure=unsure)
    assert runtime.stores.ledger.finish(uuid, 1)
    return uuid


def _said(app: CharlieApp) -> str:
    """The notices that are shown."""
    return " ".join(notice.message for notice in app._notifications)


def _looks(app: CharlieApp, mark: str) -> list[tuple[str, bool, bool]]:
    """The words that carry a mark, and whether they are underlined and italic."""
    return [
        (segment.text, bool(segment.style.underline), bool(segment.style.italic))
        for strip in app.screen._compositor.render_strips()
        for segment in strip
        if segment.style and segment.style.meta.get("entity") == mark
    ]


@pytest.fixture
def uuid(runtime: Runtime) -> str:
    """An entry in which two names wait."""
    return _add(runtime, TEXT, "Juno", "Wend")


async def test_what_is_unsure_looks_different_and_is_listed_below(
    app: CharlieApp, runtime: Runtime, uuid: str, shown: Shown, until: Until
) -> None:
    """Italic and not underlined at each of its places; in the list with its type and how sure; the home says so too."""
    runtime.review.accept(uuid, runtime.review.of(uuid)[1])
    wend = runtime.journal.connections(uuid)[0].entity.uuid
    juno = doubt_id(runtime.review.of(uuid)[0])
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "2 unsure (v)" in shown(app) and "A day out" in shown(app))
        await pilot.press("enter")
        await until(lambda: "? Unsure" in shown(app) and "person 25%" in shown(app))
        assert _looks(app, juno) == [("Juno", False, True)] * 2
        assert _looks(app, wend) == [("Wend", True, False)]


async def test_the_keys_lead_to_what_is_unsure(
    app: CharlieApp, runtime: Runtime, uuid: str, shown: Shown, until: Until
) -> None:
    """Tab goes to the first doubt and not to what is sure; after the last, no key is for a line there is not."""
    juno, wend = runtime.review.of(uuid)
    runtime.review.accept(uuid, juno)
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "■ People" in shown(app) and "tab decide what is unsure" in shown(app))
        await pilot.press("tab")
        await until(lambda: app.screen.query_one(Connections).selected_doubt == wend)
        await pilot.press("x")
        await until(lambda: "? Unsure" not in shown(app) and "u undo   tab text" in shown(app))
        assert "not an entity here" not in shown(app)
        await pilot.press("tab")
        await until(lambda: "tab connections" in shown(app))


async def test_doubts_are_decided_with_two_keys(
    app: CharlieApp, runtime: Runtime, uuid: str, shown: Shown, until: Until
) -> None:
    """The key a accepts, the cursor goes on to the next, x dismisses it, u takes one back after the other."""
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "? Unsure" in shown(app))
        await pilot.press("tab")
        await until(lambda: "a it is right" in shown(app))
        await pilot.press("a")
        await until(lambda: "■ People" in shown(app) and "Juno counts here now" in _said(app))
        connections = app.screen.query_one(Connections)
        await until(lambda: (doubt := connections.selected_doubt) is not None and doubt.name == "Wend")
        await pilot.press("x")
        await until(lambda: "? Unsure" not in shown(app))
        assert [c.entity.name for c in runtime.journal.connections(uuid)] == ["Juno"]
        assert runtime.review.of(uuid) == ()
        await pilot.press("u")
        await until(lambda: "? Unsure" in shown(app) and len(runtime.review.of(uuid)) == 1)
        await pilot.press("u")
        await until(lambda: "■ People" not in shown(app) and len(runtime.review.of(uuid)) == 2)


async def test_the_keys_decide_nothing_away_from_a_doubt(
    app: CharlieApp, runtime: Runtime, uuid: str, shown: Shown, until: Until
) -> None:
    """While the text has the keys, and on a sure connection, a does nothing."""
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "? Unsure" in shown(app))
        await pilot.press("a", "x")
        runtime.review.accept(uuid, runtime.review.of(uuid)[0])
        await until(lambda: "■ People" in shown(app))
        await pilot.press("tab", "up", "a")
        await until(lambda: "x not an entity here" in shown(app))
        assert [doubt.name for doubt in runtime.review.of(uuid)] == ["Wend"]


async def test_what_another_window_decided_is_said(
    app: CharlieApp, runtime: Runtime, uuid: str, shown: Shown, until: Until
) -> None:
    """Too late: the reason is shown, and nothing else happens."""
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "? Unsure" in shown(app))
        await pilot.press("tab")
        juno = runtime.review.of(uuid)[0]
        # Behind the services' back, so that no event tells the screen.
        assert runtime.stores.review.dismiss(uuid, "default", juno) == 2
        await pilot.press("a")
        await until(lambda: "nothing by that name" in _said(app))
        assert app.screen.name == "reader"


async def test_the_list_leads_to_each_entry_and_shrinks(
    app: CharlieApp, runtime: Runtime, uuid: str, shown: Shown, until: Until
) -> None:
    """With the names and the line; decided in the reader, an entry is gone from it; at last it says so."""
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "A day out" in shown(app))
        await pilot.press("v")
        await until(lambda: "Juno?, Wend? “With **Juno** to Wend" in shown(app) and "1 entry" in shown(app))
        await pilot.press("enter")
        await until(lambda: app.screen.name == "reader" and "? Unsure" in shown(app))
        await pilot.press("tab", "x")
        await until(lambda: len(runtime.review.of(uuid)) == 1)
        await until(lambda: "Juno" not in {doubt.name for doubt in app.screen.query_one(Connections)._doubts.values()})
        await pilot.press("x")
        await until(lambda: not runtime.review.of(uuid))
        await pilot.press("escape")
        await until(lambda: "Nothing waits for your word" in shown(app))
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home" and "unsure" not in shown(app))


async def test_ten_thousand_doubts_in_an_entry_leave_the_keys_quick(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """The first of them are listed, with the number of the others; deciding one brings up the next."""
    names = [f"Name{number:05}" for number in range(10_000)]
    uuid = _add(runtime, "\n".join(" ".join(names[at : at + 25]) for at in range(0, 10_000, 25)), *names)
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "Name00000" in shown(app) and "? Unsure" in shown(app))
        options = app.screen.query_one(OptionList)
        assert options.get_option_at_index(options.option_count - 1).disabled
        assert options.option_count == MOST_DOUBTS + 2
        await pilot.press("tab", "x")
        await until(lambda: "Name00000 is not marked" in _said(app))
        await until(lambda: (doubt := options.selected_doubt) is not None and doubt.name == "Name00001")  # type: ignore[attr-defined]
    assert runtime.status().unsure == 9_999


async def test_a_database_that_is_gone_is_said_and_the_list_stays(
    app: CharlieApp, runtime: Runtime, uuid: str, shown: Shown, until: Until
) -> None:
    """Nothing can be listed or decided then; Charlie goes on."""
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "A day out" in shown(app))
        await pilot.press("v")
        await until(lambda: "Juno?" in shown(app))
        runtime.stopping.set()
        runtime._server.close()
        await pilot.press("enter")
        await until(lambda: "closing" in _said(app) or "database" in _said(app))
        await until(lambda: app.screen.name == "review" and "Juno?" in shown(app))


def test_sure_marks_go_before_unsure_ones() -> None:
    """Of two at one place the sure one is drawn; what exceeds the text is not."""
    sure = Connection(
        Entity("e", "Juno", EntityType.PERSON), (Mention("e", 0, 4, "Juno", 0.9, "tagger", Origin.READER),)
    )
    unsure = Doubt("juno may", "Juno May", EntityType.PERSON, (Span(0, 8, "Juno May", 0.2), Span(9, 90, "x", 0.2)))
    assert [(mark.entity_uuid, mark.is_unsure) for mark in marks_of([sure], 20, [unsure])] == [("e", False)]


def test_the_status_line_counts_what_is_unsure() -> None:
    """With the key that leads there; nothing where nothing waits."""
    at_rest = ModelStatus(ModelState.UNLOADED, "", "", 0, 0.0)
    status = Status({"default": 3}, 0, 0, at_rest, "tagger")
    assert activity(replace(status, unsure=1204)) == "All read · 1,204 unsure (v)"
    assert activity(status) == "All read"


async def test_undo_takes_back_what_was_said_last_in_whichever_journal(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """The list is of all journals: the newest entry of the one that is open stays, and the notice names the other."""
    elsewhere = _add(runtime, "With Juno at work.", "Juno", journal="work")
    here = runtime.journal.add("The newest entry")
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "1 unsure (v)" in shown(app))
        await pilot.press("v")
        await until(lambda: app.screen.name == "review" and "With Juno at work" in shown(app))
        await pilot.press("enter")
        await until(lambda: "? Unsure" in shown(app))
        await pilot.press("tab", "a")
        await until(lambda: "Juno counts here now" in _said(app))
        await pilot.press("u")
        await until(lambda: "It waits for your word again. (journal work)" in _said(app))
        assert [doubt.name for doubt in runtime.review.of(elsewhere)] == ["Juno"]
        assert runtime.journal.get(here)
        await pilot.press("d")
        await until(lambda: app.screen.name == "review" and "Deleted." in _said(app))
        await pilot.press("u")
        await until(lambda: "The entry is back. (journal work)" in _said(app))
        assert runtime.journal.get(elsewhere)


async def test_undo_follows_the_journal_that_is_switched_to_and_written_in(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """A removal from the list, and an edit of another journal's entry."""
    elsewhere, here = _add(runtime, "With Juno at work.", journal="work"), runtime.journal.add("The newest entry")
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(elsewhere)
        await until(lambda: "With Juno at work" in shown(app))
        await pilot.press("e")
        await until(lambda: app.screen.name == "editor")
        await pilot.press("X", "escape")
        await until(lambda: app.screen.name == "reader" and runtime.journal.get(elsewhere).revision == 2)
        await pilot.press("u")
        await until(lambda: "as it was before. (journal work)" in _said(app))
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home" and "The newest entry" in shown(app))
        await pilot.press("d")
        await until(lambda: "Deleted." in _said(app))
        await pilot.press("u")
        await until(lambda: "The entry is back." in _said(app))
        assert "The entry is back. (" not in _said(app)
        assert runtime.journal.get(here)


@pytest.mark.parametrize("key", ["a", "x", "d"])
async def test_keys_go_to_the_entry_that_is_shown(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """While the next one is on its way, a word or a removal is not for it."""
    following, first = (_add(runtime, f"With Juno, {name}.", "Juno") for name in ("second", "first"))
    may_arrive, asked, of = Event(), Event(), runtime.review.of

    def slow(uuid: str) -> tuple[Doubt, ...]:
        if uuid == following:
            asked.set()
            assert may_arrive.wait(8)
        return of(uuid)

    monkeypatch.setattr(runtime.review, "of", slow)
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(first, (first, following))
        await until(lambda: "? Unsure" in shown(app))
        await pilot.press("tab")
        await until(lambda: app.screen.query_one(Connections).selected_doubt)
        await pilot.press("n")
        await until(asked.is_set)
        await pilot.press(key)
        await until(lambda: "Press u" in _said(app))
        may_arrive.set()
    assert [doubt.name for doubt in of(following)] == ["Juno"]
    uuids = {episode.uuid for episode in runtime.journal.page().episodes}
    assert uuids == ({following} if key == "d" else {first, following})
    assert key == "d" or of(first) == ()

"""Writing, through the real screen: what is typed is never lost."""

import asyncio
from collections.abc import Awaitable, Callable

from textual import events
from textual.app import App
from textual.events import Paste

from backend.services.runtime import Runtime
from backend.settings import Settings
from frontend.app import CharlieApp
from frontend.messages import DraftFailed
from frontend.widgets.journal_area import JournalArea

Shown = Callable[[App[None]], str]
Until = Callable[[Callable[[], object]], Awaitable[None]]
SIZE = (100, 32)


def _texts(runtime: Runtime) -> list[str]:
    return [runtime.journal.get(episode.uuid).text for episode in runtime.journal.page().episodes]


async def test_escape_saves_and_shows_the_entry(
    app: CharlieApp, runtime: Runtime, settings: Settings, shown: Shown, until: Until
) -> None:
    """The whole way of an entry: n, words, escape."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n", *"Hi you", "enter", *"more", "escape")
        await until(lambda: app.screen.name == "home" and "Hi you" in shown(app))
    assert _texts(runtime) == ["Hi you\nmore"]
    assert not list(settings.drafts_dir.glob("*.json"))


async def test_what_is_typed_is_on_disk_within_a_second(app: CharlieApp, settings: Settings) -> None:
    """The draft holds it, without a save."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n", *"quick")
        await asyncio.sleep(0.9)
        (draft,) = settings.drafts_dir.glob("*.json")
        assert "quick" in draft.read_text("utf-8")
        assert draft.stat().st_mode & 0o777 == 0o600


async def test_quitting_while_typing_keeps_the_draft(app: CharlieApp, settings: Settings, runtime: Runtime) -> None:
    """Control+q at once after the last key; the next start offers the text."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n", *"unsaved", "ctrl+q")
    (draft,) = settings.drafts_dir.glob("*.json")
    assert "unsaved" in draft.read_text("utf-8")
    assert _texts(runtime) == []


async def test_an_entry_over_the_limit_stays_in_the_editor(
    app: CharlieApp, settings: Settings, shown: Shown, until: Until
) -> None:
    """The reason stands under the text; the text and its draft are whole."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n")
        area = app.screen.query_one(JournalArea)
        area.load_text("x" * 1_000_001)
        await pilot.press("escape")
        await until(lambda: "1,000,000 characters" in shown(app))
        assert app.screen.name == "editor"
        assert len(area.text) == 1_000_001
        await until(lambda: any(path.stat().st_size > 1_000_000 for path in settings.drafts_dir.glob("*.json")))


async def test_an_entry_with_a_null_byte_is_refused_and_kept(app: CharlieApp, shown: Shown, until: Until) -> None:
    """It can be mended in the editor."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n")
        area = app.screen.query_one(JournalArea)
        area.load_text("a\0b")
        await pilot.press("ctrl+s")
        await until(lambda: "null byte" in shown(app))
        assert "a␀b" in shown(app)
        area.load_text("ab")
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home")


async def test_a_database_that_has_gone_loses_nothing(
    app: CharlieApp, runtime: Runtime, settings: Settings, shown: Shown, until: Until
) -> None:
    """The save is refused with a reason; text and draft stay."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n", *"kept")
        runtime.close()
        await pilot.press("escape")
        await until(lambda: "! " in shown(app))
        assert app.screen.name == "editor"
        assert app.screen.query_one(JournalArea).text == "kept"
        await until(lambda: list(settings.drafts_dir.glob("*.json")))


async def test_editing_keeps_what_was_not_touched(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """`$source`, quotes, Cypher, odd line ends and separators survive an edit elsewhere in the text."""
    text = "Run $source `x` \"q\" 'a' MATCH (n) DELETE n [bold]\r\nform\ffeed\u2028sep\x85nel\nمرحبا e\u0301 👩‍👩‍👧"
    uuid = runtime.journal.add(text)
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "Run $source" in shown(app))
        await pilot.press("e")
        await until(lambda: app.screen.name == "editor")
        await pilot.press("!", "escape")
        await until(lambda: app.screen.name == "home")
    assert runtime.journal.get(uuid).text == text + "!"


async def test_leaving_without_a_change_writes_nothing(
    app: CharlieApp, runtime: Runtime, until: Until, shown: Shown
) -> None:
    """No new revision, no draft, and a blank new entry is none."""
    uuid = runtime.journal.add("As it was")
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "As it was" in shown(app))
        await pilot.press("e")
        await until(lambda: app.screen.name == "editor")
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home")
        await pilot.press("n", "space", "escape")
        await until(lambda: app.screen.name == "home")
    assert runtime.journal.get(uuid).revision == 1
    assert _texts(runtime) == ["As it was"]


async def test_saving_twice_changes_one_entry(app: CharlieApp, runtime: Runtime, until: Until) -> None:
    """Control+s stays in the editor, and what follows belongs to the same entry."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n", *"one", "ctrl+s")
        await until(lambda: _texts(runtime) == ["one"])
        await pilot.press(*" two", "escape")
        await until(lambda: app.screen.name == "home")
    assert _texts(runtime) == ["one two"]


async def test_a_paste_with_carriage_returns_becomes_lines(app: CharlieApp, runtime: Runtime, until: Until) -> None:
    """Terminals send them for the line ends of what is pasted."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n")
        app.post_message(Paste("one\r\ntwo\rthree"))
        await pilot.pause()
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home")
    assert _texts(runtime) == ["one\ntwo\nthree"]


async def test_keys_typed_before_escape_are_saved(app: CharlieApp, runtime: Runtime, until: Until) -> None:
    """Escape waits for the field to take in what was typed, however busy it is."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n", *"day")
        area = app.screen.query_one(JournalArea)
        area.call_later(asyncio.sleep, 0.3)
        for key in "s", "!":
            app.post_message(events.Key(key, key))
        app.post_message(events.Key("escape", None))
        await until(lambda: app.screen.name == "home")
    assert _texts(runtime) == ["days!"]


async def test_a_refused_save_is_said_once(app: CharlieApp, shown: Shown, until: Until) -> None:
    """Under the text; no notice covers it as well."""
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("n")
        app.screen.query_one(JournalArea).load_text("a\0b")
        await pilot.press("ctrl+s")
        await until(lambda: "null byte" in shown(app))
        await pilot.pause(0.2)
        assert not app.screen.query("Toast")


async def test_a_very_long_paste_is_not_wrapped(app: CharlieApp) -> None:
    """Wrapping it again at each key would take seconds."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n")
        area = app.screen.query_one(JournalArea)
        app.post_message(Paste("word " * 30_000))
        await pilot.pause()
        assert area.soft_wrap
        app.post_message(Paste("word " * 30_000))
        await pilot.pause()
        assert not area.soft_wrap
        assert len(area.text) == 300_000


async def test_hints_are_shown_whole_or_not_at_all(app: CharlieApp, shown: Shown) -> None:
    """A narrow terminal has fewer of them, none cut in the middle."""
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("n")
        await pilot.pause()
        assert shown(app).splitlines()[-1].strip() == "escape save and close   ctrl+s save"
        await pilot.resize_terminal(80, 20)
        await pilot.pause()
        assert shown(app).splitlines()[-1].strip().endswith("f1 help")


async def test_a_draft_that_cannot_be_kept_is_said_until_it_can(
    app: CharlieApp, settings: Settings, shown: Shown, until: Until
) -> None:
    """A full disk: the reason stands under the text while it lasts, and the draft follows by itself."""
    settings.drafts_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.drafts_dir.write_text("in the way")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n", *"kept")
        await until(lambda: "the draft cannot be kept" in shown(app))
        settings.drafts_dir.unlink()
        await until(lambda: "the draft cannot be kept" not in shown(app))
        assert list(settings.drafts_dir.glob("*.json"))
        assert app.screen.query_one(JournalArea).text == "kept"


async def test_a_failing_draft_does_not_double_the_entry(app: CharlieApp, runtime: Runtime, until: Until) -> None:
    """Escape twice while the first save is under way saves once."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n")
        app.screen.query_one(JournalArea).load_text("long " * 190_000)
        app.post_message(events.Key("escape", None))
        await asyncio.sleep(0.03)
        app.screen.post_message(DraftFailed("no space"))
        app.post_message(events.Key("escape", None))
        await until(lambda: app.screen.name == "home")
        await pilot.pause(0.3)
    assert len(_texts(runtime)) == 1

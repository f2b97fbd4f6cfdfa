"""The list of entries, through the real screen."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

from textual.app import App

from backend.database.redis_ops import set_episode_status
from backend.errors import StorageUnavailable
from backend.services.drafts import Drafts
from backend.services.launch import start_worker
from backend.services.runtime import Runtime
from backend.settings import Settings, load_settings
from frontend.app import CharlieApp
from frontend.loading.pages import load_top
from frontend.messages import EntriesArrived
from frontend.screens.home import HomeScreen
from frontend.state.opening import Phase
from frontend.widgets.timeline import Timeline

Shown = Callable[[App[None]], str]
Until = Callable[[Callable[[], object]], Awaitable[None]]
AddDays = Callable[[Runtime, int], list[str]]

SIZE = (100, 32)


async def test_entries_stand_under_their_days(app: CharlieApp, runtime: Runtime, shown: Shown, until: Until) -> None:
    """Newest first, each with its time, its title and what follows."""
    runtime.journal.add("By the river\nCold water.", valid_at=datetime(2026, 3, 14, 9, 30, tzinfo=UTC))
    runtime.journal.add("At home", valid_at=datetime(2026, 3, 13, 20, 5, tzinfo=UTC))
    async with app.run_test(size=SIZE):
        await until(lambda: "At home" in shown(app))
        lines = [line.strip() for line in shown(app).splitlines() if line.strip()]
        first = next(index for index, line in enumerate(lines) if "Saturday 14 March" in line)
        assert "09:30" in lines[first + 1]
        assert "By the river" in lines[first + 1]
        assert "Cold water." in lines[first + 2]
        assert "Friday 13 March" in lines[first + 3]
        assert "20:05" in lines[first + 4]
        assert "○ waiting" in lines[first + 4]


async def test_markup_in_titles_and_previews_is_shown_as_written(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """`[/etc]` or `[bold]` in an entry neither crashes the list nor disappears from it, nor from a toast."""
    runtime.journal.add("[/etc] and [bold]\n[/] [red]not red[/red] [@click=app.quit]no[/]")
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "[/etc] and [bold]" in shown(app))
        assert "[/] [red]not red[/red] [@click=app.quit]no[/]" in shown(app)
        await pilot.press("d")
        await until(lambda: "Nothing is written yet" in shown(app))


async def test_control_characters_are_shown_not_sent(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """An escape sequence in a title cannot change the terminal."""
    runtime.journal.add("A \x1b[31mred\x1b[0m title\x07\nand \x9b2J")
    async with app.run_test(size=SIZE):
        await until(lambda: r"A \x1b[31mred\x1b[0m title\x07" in shown(app))
        assert r"and \x9b2J" in shown(app)
        assert not any(char in shown(app) for char in "\x1b\x07\x9b")


async def test_an_empty_journal_says_what_to_press(app: CharlieApp, shown: Shown, until: Until) -> None:
    """The first thing anyone sees."""
    async with app.run_test(size=(80, 24)):
        await until(lambda: "Press n and write about your day" in shown(app))


async def test_only_a_page_is_loaded_until_one_scrolls(
    app: CharlieApp, runtime: Runtime, until: Until, add_days: AddDays
) -> None:
    """A long journal costs the first screen no more than a short one."""
    add_days(runtime, 130)
    async with app.run_test(size=SIZE) as pilot:
        timeline = app.screen.query_one(Timeline)
        await until(lambda: len(timeline.episodes) == 50)
        await pilot.press(*["pagedown"] * 12)
        await until(lambda: 50 < len(timeline.episodes) <= 100)


async def test_the_oldest_entry_is_one_key_away(
    app: CharlieApp, runtime: Runtime, until: Until, add_days: AddDays
) -> None:
    """G goes to the very end, g back to the top."""
    uuids = add_days(runtime, 130)
    async with app.run_test(size=SIZE) as pilot:
        timeline = app.screen.query_one(Timeline)
        await until(lambda: len(timeline.episodes) == 50 and timeline.has_focus)
        await pilot.press("G")
        await until(lambda: timeline.selected and timeline.selected.uuid == uuids[-1])
        await pilot.press("g")
        assert timeline.selected is not None
        assert timeline.selected.uuid == uuids[0]
        assert [episode.uuid for episode in timeline.episodes] == uuids


async def test_a_late_answer_leaves_the_long_list(
    app: CharlieApp, runtime: Runtime, until: Until, add_days: AddDays
) -> None:
    """The top, asked for before the oldest entries came, does not take them away again."""
    uuids = add_days(runtime, 130)
    async with app.run_test(size=SIZE) as pilot:
        home, timeline = app.screen, app.screen.query_one(Timeline)
        assert isinstance(home, HomeScreen)
        await until(lambda: len(timeline.episodes) == 50 and timeline.has_focus)
        await pilot.press("G")
        await until(lambda: timeline.selected and timeline.selected.uuid == uuids[-1])
        runtime.journal.delete(uuids[0])
        home.post_message(EntriesArrived(home._generation, load_top(runtime.journal, "default", 50)))
        await until(lambda: len(timeline.episodes) == 129)
        assert timeline.selected is not None
        assert timeline.selected.uuid == uuids[-1]


async def test_a_deleted_entry_comes_back(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until, add_days: AddDays
) -> None:
    """The key d removes the entry under the cursor, u undoes that."""
    add_days(runtime, 3)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(lambda: "Entry 1" in shown(app))
        await pilot.press("j", "d")
        await until(lambda: "Entry 1" not in shown(app))
        await until(lambda: "Deleted. Press u to bring it back." in shown(app))
        await pilot.press("u")
        await until(lambda: "Entry 1" in shown(app))


async def test_what_was_given_up_is_marked_and_revived(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until, add_days: AddDays
) -> None:
    """The key r has a dead entry read again."""
    (uuid,) = add_days(runtime, 1)
    set_episode_status(uuid, "dead")
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "! given up" in shown(app) and "1 given up" in shown(app).splitlines()[-2])
        await pilot.press("r")
        await until(lambda: "○ waiting" in shown(app))


async def test_entries_of_another_process_appear(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until, add_days: AddDays
) -> None:
    """An entry that is saved elsewhere while the list is shown joins it, and the cursor stays on its entry."""
    uuids = add_days(runtime, 2)
    async with app.run_test(size=SIZE):
        timeline = app.screen.query_one(Timeline)
        await until(lambda: len(timeline.episodes) == 2)
        runtime.journal.add("From elsewhere")
        await until(lambda: "From elsewhere" in shown(app))
        assert timeline.selected is not None
        assert timeline.selected.uuid == uuids[0]


async def test_an_opening_that_fails_says_so_and_can_be_tried_again(
    runtime: Runtime, shown: Shown, until: Until
) -> None:
    """What is wrong, what to do, and r."""
    runtime.journal.add("Still here")
    opening: Future[None] = Future()
    app = CharlieApp(runtime, opening)
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "Opening your journal" in shown(app))
        app.show_loading(0.42)
        await until(lambda: "42%" in shown(app))
        opening.set_exception(StorageUnavailable("the [folder] cannot be written: choose another with CHARLIE_HOME"))
        await until(lambda: "the [folder] cannot be written: choose another with CHARLIE_HOME" in shown(app))
        await pilot.press("r")
        await until(lambda: app.opening.phase is Phase.OPEN)
        await until(lambda: "Still here" in shown(app))


async def test_a_model_that_fails_to_load_is_said_and_entries_stay_pending(
    home: Path, tmp_path: Path, shown: Shown, until: Until
) -> None:
    """The screen says what is wrong and what to do; nothing is given up."""
    bad = tmp_path / "broken.gguf"
    bad.write_bytes(b"this is no model")
    runtime = Runtime(load_settings(home=home, llm_path=bad))
    runtime.open()
    try:
        uuid = runtime.journal.add("Met Anna in Rome.")
        start_worker(runtime)
        app = CharlieApp(runtime)
        async with app.run_test(size=SIZE):
            await until(lambda: "broken.gguf cannot be used" in shown(app))
            assert "charlie models use" in " ".join(shown(app).split())
            assert "1 waits" in shown(app)
            assert "given up" not in shown(app)
            assert runtime.journal.status_of(uuid).value.startswith("pending")
    finally:
        runtime.close()


async def test_a_draft_left_over_is_offered(
    app: CharlieApp, settings: Settings, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """D continues what a crash left; saving it removes the draft."""
    other = Drafts(settings.drafts_dir)
    other.save(other.new_id(), "", "default", "Half a thought [/about]")
    other.close()
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "1 unsaved draft: press D to continue" in shown(app))
        await pilot.press("D")
        await until(lambda: app.screen.name == "editor")
        await pilot.press("!", "escape")
        await until(lambda: app.screen.name == "home" and "Half a thought [/about]!" in shown(app))
        assert "unsaved draft" not in shown(app)
        assert not list(settings.drafts_dir.glob("*.json"))


async def test_another_journal_is_shown_and_written_to(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """The palette's command switches; what is written then lands there."""
    runtime.journal.add("Private matters")
    runtime.journal.add("Office matters", journal="work")
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "Private matters" in shown(app))
        app.choose_journal()
        await until(lambda: "work" in shown(app))
        await pilot.press("down", "enter")
        await until(lambda: "Office matters" in shown(app) and "Private matters" not in shown(app))
        await pilot.press("n", "H", "i", "escape")
        await until(lambda: runtime.journal.journals().get("work") == 2)

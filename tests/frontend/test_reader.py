"""Reading an entry with its connections, through the real screen and with the shipped tagger."""

from collections.abc import Awaitable, Callable

from textual.app import App
from textual.widgets import Markdown

from backend.database.redis_ops import set_episode_status
from backend.domain import Connection
from backend.services.drain import drain
from backend.services.launch import start_worker
from backend.services.runtime import Runtime
from frontend.app import CharlieApp
from frontend.widgets.connections import Connections
from frontend.widgets.journal_area import JournalArea

Shown = Callable[[App[None]], str]
Until = Callable[[Callable[[], object]], Awaitable[None]]
SIZE = (110, 34)
TEXT = "# A day out\n\nWent to **Berlin** with Sarah Miller. Sarah Miller met Tom in Berlin.\n"


def _read(runtime: Runtime, *texts: str) -> list[str]:
    uuids = [runtime.journal.add(text) for text in texts]
    drain(runtime)
    return uuids


def _connection(runtime: Runtime, uuid: str, name: str) -> Connection:
    return next(item for item in runtime.journal.connections(uuid) if item.entity.name == name)


def _marked(app: CharlieApp, uuid: str) -> list[str]:
    """The rendered words that carry the mark of an entity."""
    strips = app.screen._compositor.render_strips()
    return [
        segment.text
        for strip in strips
        for segment in strip
        if segment.style and segment.style.meta.get("entity") == uuid
    ]


async def test_entities_are_marked_and_listed(app: CharlieApp, runtime: Runtime, shown: Shown, until: Until) -> None:
    """Each place that names an entity is marked in the laid-out text; the sidebar lists them by type."""
    (uuid,) = _read(runtime, TEXT)
    berlin, sarah = _connection(runtime, uuid, "Berlin"), _connection(runtime, uuid, "Sarah Miller")
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "A day out" in shown(app))
        await pilot.press("enter")
        await until(lambda: "■ Places" in shown(app) and _marked(app, berlin.entity.uuid))
        assert _marked(app, berlin.entity.uuid) == ["Berlin"] * len(berlin.mentions)
        assert _marked(app, sarah.entity.uuid) == ["Sarah Miller"] * len(sarah.mentions)
        assert "**" not in shown(app)


async def test_a_connection_opens_the_entries_that_mention_it(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """With the sentence as a quotation; and these open in turn."""
    first, second = _read(runtime, TEXT, "Back home\nI miss Berlin already, and the long walks in Berlin.")
    berlin = _connection(runtime, first, "Berlin")
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(first)
        await until(lambda: "■ Places" in shown(app))
        connections = app.screen.query_one(Connections)
        connections.focus()
        connections.select(berlin.entity.uuid)
        await pilot.press("enter")
        await until(lambda: "“I miss Berlin already" in shown(app) and "A day out" in shown(app))
        await pilot.press("enter")
        await until(lambda: app.screen.name == "reader" and "the long walks" in shown(app))
        await pilot.press("escape", "escape")
        await until(lambda: "A day out" in shown(app))
    assert runtime.journal.connections(second)


async def test_the_connections_have_a_cursor_as_soon_as_they_are_reached(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """Tab, then enter: the first one's entries."""
    (uuid,) = _read(runtime, TEXT)
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "■ Places" in shown(app))
        await pilot.press("tab", "enter")
        await until(lambda: app.screen.name == "mentions")


async def test_a_narrow_terminal_shows_the_connections_in_the_place_of_the_text(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """Tab goes there and back."""
    (uuid,) = _read(runtime, TEXT)
    async with app.run_test(size=(40, 14)) as pilot:
        app.open_reader(uuid)
        await until(lambda: "A day out" in shown(app))
        assert "■ Places" not in shown(app)
        await pilot.press("tab")
        await until(lambda: "■ Places" in shown(app) and "A day out" not in shown(app))
        await pilot.press("tab")
        await until(lambda: "■ Places" not in shown(app) and "A day out" in shown(app))


async def test_tab_brings_hidden_connections_back(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """The key b hides them; who wants to go there sees them again."""
    (uuid,) = _read(runtime, TEXT)
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "■ Places" in shown(app))
        await pilot.press("b")
        await until(lambda: "■ Places" not in shown(app))
        await pilot.press("tab")
        await until(lambda: "■ Places" in shown(app) and app.focused is app.screen.query_one(Connections))


async def test_what_is_no_entity_can_be_said_so_and_taken_back(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """The key x removes the mark, u brings it back."""
    (uuid,) = _read(runtime, TEXT)
    berlin = _connection(runtime, uuid, "Berlin").entity.uuid
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: _marked(app, berlin))
        connections = app.screen.query_one(Connections)
        connections.focus()
        connections.select(berlin)
        await pilot.press("x")
        await until(lambda: not _marked(app, berlin) and connections.entity(berlin) is None)
        await pilot.press("u")
        await until(lambda: _marked(app, berlin))


async def test_a_reading_appears_while_one_looks(app: CharlieApp, runtime: Runtime, shown: Shown, until: Until) -> None:
    """The entry is open before it is read; its connections come by themselves."""
    uuid = runtime.journal.add(TEXT)
    async with app.run_test(size=SIZE):
        app.open_reader(uuid)
        await until(lambda: "Waiting to be read." in shown(app) and "Sarah Miller" in shown(app))
        start_worker(runtime)
        await until(lambda: "■ Places" in shown(app))
        await until(lambda: "Waiting to be read." not in shown(app))


async def test_text_is_shown_as_written(app: CharlieApp, runtime: Runtime, shown: Shown, until: Until) -> None:
    """Markup of other kinds, references, entities and control characters stay visible; line ends are kept."""
    uuid = runtime.journal.add(
        "[bold]x[/bold] [/etc] <b>tag</b> &amp; $source\n[Anna]: not a reference\nesc \x1b[31m bell \x07 c1 \x9b."
        "\n\n<div>a block</div>\n\n    an indented line\n"
    )
    async with app.run_test(size=SIZE):
        app.open_reader(uuid)
        await until(lambda: "an indented line" in shown(app))
        lines = [line.split("│")[0].strip() for line in shown(app).splitlines()]
        assert "[bold]x[/bold] [/etc] <b>tag</b> &amp; $source" in lines
        assert "[Anna]: not a reference" in lines
        assert "esc ␛[31m bell ␇ c1 \ufffd." in lines
        assert "<div>a block</div>" in lines


async def test_a_given_up_entry_says_why_and_what_to_do(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """The key r revives it."""
    uuid = runtime.journal.add("Never read")
    set_episode_status(uuid, "dead")
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "Given up" in shown(app) and "Press r" in shown(app))
        await pilot.press("r")
        await until(lambda: "Waiting to be read." in shown(app))


async def test_next_and_previous_follow_the_list(app: CharlieApp, runtime: Runtime, shown: Shown, until: Until) -> None:
    """The key n goes down, p up, and both stop at the ends."""
    for number in range(3):
        runtime.journal.add(f"Number {number}")
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "Number 0" in shown(app))
        await pilot.press("enter")
        await until(lambda: app.screen.name == "reader" and "Number 2" in shown(app))
        await pilot.press("n")
        await until(lambda: "Number 1" in shown(app))
        await pilot.press("n", "n")
        await until(lambda: "Number 0" in shown(app))
        await pilot.press("p")
        await until(lambda: "Number 1" in shown(app))


async def test_a_very_long_entry_is_shown_whole_as_plain_text(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """A million characters open, with a notice, and scroll to their end."""
    text = "A line of forty characters, more or less\n" * 24_000 + "The very end"
    uuid = runtime.journal.add(text)
    async with app.run_test(size=SIZE) as pilot:
        app.open_reader(uuid)
        await until(lambda: "A line of forty" in shown(app))
        assert not app.screen.query(Markdown)
        area = app.screen.query_one(JournalArea)
        area.focus()
        await pilot.press("ctrl+end")
        await until(lambda: "The very end" in shown(app))
        assert "shown as plain text" in shown(app)
        assert area.text == text


async def test_an_entry_deleted_meanwhile_closes_the_reader(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until
) -> None:
    """Another window removed it: back to the list, with a word about it."""
    uuid = runtime.journal.add("Soon gone")
    async with app.run_test(size=SIZE):
        app.open_reader(uuid)
        await until(lambda: app.screen.name == "reader" and "Soon gone" in shown(app))
        runtime.journal.delete(uuid)
        await until(lambda: app.screen.name == "home" and "Nothing is written yet" in shown(app))

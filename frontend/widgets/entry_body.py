"""The text of an entry: laid out as Markdown, or plain where that would take too long."""

import re
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from backend.domain import Connection, Doubt
from frontend.state.marking import Mark, marks_of
from frontend.widgets.journal_area import JournalArea
from frontend.widgets.marked import MarkedMarkdown

# Beyond either limit the text is shown plain: laying it out would hold the screen for more than half a second.
MARKDOWN_LIMIT_CHARS = 60_000
_LIMIT_BLOCKS = 800
# An item of a list, a quotation or a row of a table costs 3.5 ms, five times as much as a line of prose.
_COSTLY_LINE = re.compile(r"^\s*(?:[-*+>|#]|\d+[.)])", re.MULTILINE)
_COST = 5
_NOTICE = "This entry is long: it is shown as plain text, whole, without marks in it."


class Page(VerticalScroll):
    """Scrolls with the keys that move in lists too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("space", "page_down", show=False),
        Binding("g", "scroll_home", show=False),
        Binding("G", "scroll_end", show=False),
    ]


class EntryBody(Widget):
    """Holds the one of the two ways to show a text that suits it."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text: str | None = None

    def compose(self) -> ComposeResult:
        yield Page()

    async def show(self, text: str, connections: Sequence[Connection], doubts: Sequence[Doubt] = ()) -> None:
        """Shows a text whole, with its connections and doubts marked unless it is very long."""
        is_new, self._text = text != self._text, text
        marks = marks_of(connections, len(text), doubts)
        if not is_costly(text):
            await self._show_laid_out(text, marks)
        elif is_new:
            await self._show_plain(text)

    async def _show_laid_out(self, text: str, marks: Sequence[Mark]) -> None:
        page = self.query_one(Page)
        laid_out = page.query(MarkedMarkdown)
        if laid_out:
            await laid_out.first().show(text, marks)
        else:
            await page.mount(MarkedMarkdown(text, marks))
        page.display = True
        plain = self.query(".plain")
        if any(widget.has_focus for widget in plain):
            page.focus()
        await plain.remove()

    async def _show_plain(self, text: str) -> None:
        page, former = self.query_one(Page), list(self.query(".plain"))
        area = JournalArea(text, read_only=True)
        area.add_class("plain")
        await self.mount(Static(_NOTICE, classes="plain notice", markup=False), area)
        # Asked only now: the person may have gone elsewhere meanwhile.
        if page.has_focus or any(widget.has_focus for widget in former):
            area.focus()
        page.display = False
        await self.remove_children(former)

    def emphasise(self, entity_uuid: str) -> None:
        """Makes the places of one entity stand out; none for an empty uuid."""
        for markdown in self.query(MarkedMarkdown):
            markdown.emphasise(entity_uuid)

    def take_focus(self) -> None:
        """Gives the keys to the text, in the way it is shown."""
        plain = self.query(JournalArea)
        (plain.first() if plain else self.query_one(Page)).focus()

    def go_to_top(self) -> None:
        """Back to the first line."""
        for page in self.query(Page):
            page.scroll_home(animate=False)


def is_costly(text: str) -> bool:
    """Whether laying `text` out as Markdown would hold the screen too long."""
    if len(text) > MARKDOWN_LIMIT_CHARS:
        return True
    return text.count("\n") + _COST * sum(1 for _ in _COSTLY_LINE.finditer(text)) > _LIMIT_BLOCKS

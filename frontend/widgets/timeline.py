"""The list of entries under their days: draws only the lines on screen, however many entries there are."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backend.domain import EpisodeStatus, EpisodeSummary
from frontend.state.cells import fit, one_line
from frontend.state.days import day_in_words, local_today
from frontend.state.timeline import DayHeading, Layout, rows_of

# Further entries are asked for when fewer lines than this lie below the window.
_MARGIN_LINES = 60
# Rows of a terminal from which entries stand apart.
_ROOMY_LINES = 26
_TIME_CELLS = 8
_MARKS = {
    EpisodeStatus.PENDING_NODES: ("○ waiting", "timeline--waiting"),
    EpisodeStatus.PENDING_EDGES: ("◔ waiting", "timeline--waiting"),
    EpisodeStatus.DEAD: ("! given up", "timeline--dead"),
}


class Timeline(ScrollView, can_focus=True):
    """Entries, newest first. Enter or a click opens one; `MoreWanted` asks for older ones near the end."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "timeline--day",
        "timeline--time",
        "timeline--title",
        "timeline--preview",
        "timeline--waiting",
        "timeline--reading",
        "timeline--dead",
        "timeline--cursor",
        "timeline--bar",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", show=False),
        Binding("up,k", "move(-1)", show=False),
        Binding("pagedown,ctrl+d", "page(1)", show=False),
        Binding("pageup,ctrl+u", "page(-1)", show=False),
        Binding("home,g", "first", show=False),
        Binding("end,G", "last", show=False),
        Binding("enter", "open", show=False),
    ]

    class Opened(Message):
        """The person wants to read an entry."""

        def __init__(self, uuid: str) -> None:
            super().__init__()
            self.uuid = uuid

    class MoreWanted(Message):
        """The end of what is loaded is near; `is_all` when the very last entry is wanted."""

        def __init__(self, *, is_all: bool = False) -> None:
            super().__init__()
            self.is_all = is_all

    def __init__(self, *, by_day: bool = True, id: str | None = None) -> None:
        super().__init__(id=id)
        self._by_day = by_day
        self._episodes: tuple[EpisodeSummary, ...] = ()
        self._layout = Layout((), is_roomy=True)
        self._cursor = 0
        self._reading_uuid = ""
        self._has_more = False
        self._is_asking = False
        self.today = local_today()

    @property
    def episodes(self) -> tuple[EpisodeSummary, ...]:
        """What is loaded, newest first."""
        return self._episodes

    @property
    def selected(self) -> EpisodeSummary | None:
        """The entry under the cursor."""
        row = self._layout.rows[self._cursor] if self._cursor < len(self._layout.rows) else None
        return row if isinstance(row, EpisodeSummary) else None

    def show(self, episodes: Sequence[EpisodeSummary], *, has_more: bool) -> None:
        """Puts `episodes` in the place of those shown; the cursor stays on its entry, else on its line."""
        selected = self.selected
        position = self._episodes.index(selected) if selected in self._episodes else 0
        self._episodes = tuple(episodes)
        self._has_more, self._is_asking = has_more, False
        self._arrange()
        found = self._layout.index_of(selected.uuid) if selected else None
        if found is None and self._episodes:
            found = self._layout.index_of(self._episodes[min(position, len(self._episodes) - 1)].uuid)
        self._cursor = found or 0
        self._reveal()

    def set_reading(self, uuid: str) -> None:
        """Marks the entry that is being read now; empty for none."""
        if uuid != self._reading_uuid:
            self._reading_uuid = uuid
            self.refresh()

    def select(self, uuid: str) -> None:
        """Puts the cursor on an entry, if it is loaded."""
        found = self._layout.index_of(uuid)
        if found is not None:
            self._cursor = found
            self._reveal()

    def select_last(self) -> None:
        """Puts the cursor on the oldest loaded entry."""
        if self._episodes:
            self.select(self._episodes[-1].uuid)

    def _arrange(self) -> None:
        is_roomy = self.app.size.height >= _ROOMY_LINES
        self._layout = Layout(rows_of(self._episodes, by_day=self._by_day), is_roomy=is_roomy)
        self.virtual_size = Size(max(1, self.scrollable_content_region.width), self._layout.n_lines)
        self.refresh()

    def _reveal(self) -> None:
        """Scrolls so that the cursor's entry is seen, with its day where that is just above."""
        if self.selected is None:
            return
        top, height = self._layout.span(self._cursor)
        if self._cursor and isinstance(self._layout.rows[self._cursor - 1], DayHeading):
            above = self._layout.span(self._cursor - 1)[1]
            top, height = top - above, height + above
        self.scroll_to_region(Region(0, top, 1, height), animate=False, force=True, x_axis=False)
        self.refresh()
        self._ask_for_more()

    def _ask_for_more(self) -> None:
        below = self._layout.n_lines - (self.scroll_offset.y + self.size.height)
        if self._has_more and not self._is_asking and below < _MARGIN_LINES:
            self._is_asking = True
            self.post_message(self.MoreWanted())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._ask_for_more()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()
        self._reveal()

    def action_move(self, step: int) -> None:
        """To the next entry, or the one before."""
        found = self._layout.entry_from(self._cursor + step, step)
        if found is not None:
            self._cursor = found
            self._reveal()

    def action_page(self, direction: int) -> None:
        """A window further."""
        if self.selected is None:
            return
        line = self._layout.span(self._cursor)[0] + direction * max(1, self.size.height - 2)
        at = self._layout.row_at(min(max(0, line), self._layout.n_lines - 1))
        index = at[0] if at else self._cursor
        found = self._layout.entry_from(index, direction)
        if found is None:
            found = self._layout.entry_from(index, -direction)
        self._cursor = self._cursor if found is None else found
        self._reveal()

    def action_first(self) -> None:
        """To the newest entry."""
        if self._episodes:
            self.select(self._episodes[0].uuid)
            self.scroll_to(y=0, animate=False)

    def action_last(self) -> None:
        """To the oldest entry, however many lie between."""
        if self._has_more:
            self._is_asking = True
            self.post_message(self.MoreWanted(is_all=True))
        self.select_last()

    def action_open(self) -> None:
        """Reads the entry under the cursor."""
        if self.selected is not None:
            self.post_message(self.Opened(self.selected.uuid))

    def on_click(self, event: events.Click) -> None:
        at = self._layout.row_at(self.scroll_offset.y + event.y)
        if at and isinstance(self._layout.rows[at[0]], EpisodeSummary):
            self._cursor = at[0]
            self.refresh()
            self.action_open()

    def render_line(self, y: int) -> Strip:
        """The line `y` of the window."""
        width = self.scrollable_content_region.width
        at = self._layout.row_at(self.scroll_offset.y + y)
        if at is None:
            return Strip.blank(width, self.rich_style)
        index, line = at
        row = self._layout.rows[index]
        if isinstance(row, DayHeading):
            words = fit(day_in_words(row.day, self.today) if line == self._layout.heading_line(index) else "", width)
            return Strip([self._segment(words, "timeline--day")], width)
        return Strip(list(self._entry(row, line, index == self._cursor, width)), width)

    def _entry(self, row: EpisodeSummary, line: int, is_cursor: bool, width: int) -> Sequence[Segment]:
        is_blank = line >= (2 if row.preview else 1)
        if is_blank:
            return [self._segment(" " * width, "timeline--preview")]
        over = ("timeline--cursor",) if is_cursor else ()
        bar = self._segment("▌ " if is_cursor else "  ", "timeline--bar", *over)
        moment = f"{row.valid_at:%H:%M}" if self._by_day else f"{row.valid_at:%Y-%m-%d}"
        indent = _TIME_CELLS if self._by_day else _TIME_CELLS + 5
        if line == 1:
            preview = fit(one_line(row.preview), max(0, width - indent - 4))
            return [bar, *(self._segment(part, "timeline--preview", *over) for part in (" " * indent, preview, "  "))]
        words, style = self._mark(row)
        room = max(0, width - indent - len(words) - 4)
        return [
            bar,
            self._segment(fit(moment, indent), "timeline--time", *over),
            self._segment(fit(one_line(row.title), room), "timeline--title", *over),
            self._segment(f"{words}  ", style, *over),
        ]

    def _mark(self, row: EpisodeSummary) -> tuple[str, str]:
        if row.uuid == self._reading_uuid and row.status is not EpisodeStatus.DEAD:
            return "  ◐ reading", "timeline--reading"
        words, style = _MARKS.get(row.status, ("", "timeline--waiting"))
        return (f"  {words}" if words else ""), style

    def _segment(self, text: str, *styles: str) -> Segment:
        return Segment(text, self.get_visual_style(*styles).rich_style)

"""Every entry that mentions one entity, each with the line that does."""

from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from backend.domain import Entity, Page, PageCursor
from frontend.loading.entry import load_quoted
from frontend.messages import PageArrived
from frontend.screens.entry_list import EntryListScreen
from frontend.state.wording import plural
from frontend.widgets.key_hints import Hint, KeyHints
from frontend.widgets.timeline import Timeline
from frontend.widgets.title_bar import TitleBar

_HINTS: tuple[Hint, ...] = (
    ("escape", "back", "screen.back"),
    ("enter", "read", "screen.read"),
    ("?", "help", "app.help"),
)


class MentionsScreen(EntryListScreen):
    """The entries of a journal that mention an entity, newest first."""

    def __init__(self, entity: Entity, journal: str) -> None:
        super().__init__(name="mentions")
        self._entity = entity
        self._journal = journal
        self._next: PageCursor | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        with Vertical(id="body"):
            yield Timeline(by_day=False, id="timeline")
        yield KeyHints(_HINTS)

    def on_mount(self) -> None:
        self._timeline = self.query_one(Timeline)
        self._timeline.focus()
        self.call_after_refresh(self._show_title)
        self._load()

    def _show_title(self) -> None:
        count = plural(self._entity.n_episodes, "entry", "entries") if self._entity.n_episodes else ""
        self.query_one(TitleBar).show(f"{self._entity.name} · {self._entity.type}", count)

    def _load(self) -> None:
        load = partial(load_quoted, self.charlie.runtime.journal, self._entity, self._journal, self._next)
        self.ask(load, lambda quoted: PageArrived(0, Page(quoted.episodes, quoted.next)), latest_of="page")

    @on(PageArrived)
    def _take_page(self, event: PageArrived) -> None:
        self._next = event.page.next
        self._timeline.show((*self._timeline.episodes, *event.page.episodes), has_more=self._next is not None)

    @on(Timeline.MoreWanted)
    def _load_more(self) -> None:
        if self._next is not None:
            self._load()

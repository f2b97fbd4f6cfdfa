"""Every entry with something in it that readers were not sure of, each with the line in question."""

from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from backend.domain import ChangeKind
from frontend.loading.doubts import load_doubtful
from frontend.messages import ChangesSeen, DoubtsArrived
from frontend.screens.entry_list import EntryListScreen
from frontend.state.wording import plural
from frontend.widgets.key_hints import Hint, KeyHints
from frontend.widgets.timeline import Timeline
from frontend.widgets.title_bar import TitleBar

_HINTS: tuple[Hint, ...] = (
    ("escape", "back", "screen.back"),
    ("enter", "read and decide", "screen.read"),
    ("u", "undo", "app.undo"),
    ("?", "help", "app.help"),
)
_NOTHING = "Nothing waits for your word: readers were sure of all they found."


class ReviewScreen(EntryListScreen):
    """The entries of all journals that wait for the person's word, newest first."""

    def __init__(self) -> None:
        super().__init__(name="review")

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        with Vertical(id="body"):
            yield Static(_NOTHING, id="nothing", markup=False)
            yield Timeline(by_day=False, id="timeline")
        yield KeyHints(_HINTS)

    def on_mount(self) -> None:
        self._timeline, self._nothing = self.query_one(Timeline), self.query_one("#nothing")
        self._nothing.display = False
        self._timeline.focus()
        self.query_one(TitleBar).show("Not sure")
        self._load()

    def on_screen_resume(self) -> None:
        self._load()

    def _load(self) -> None:
        runtime = self.charlie.runtime
        self.ask(partial(load_doubtful, runtime.journal, runtime.review), DoubtsArrived, latest_of="doubts")

    @on(DoubtsArrived)
    def _show(self, event: DoubtsArrived) -> None:
        count = plural(len(event.episodes), "entry", "entries")
        self.query_one(TitleBar).show("Not sure", count + (" or more" if event.has_more else ""))
        self._timeline.show(event.episodes, has_more=False)
        self._nothing.display = not event.episodes
        self._timeline.display = bool(event.episodes)

    @on(ChangesSeen)
    def _follow_changes(self, event: ChangesSeen) -> None:
        kinds = {ChangeKind.SAVED, ChangeKind.DELETED, ChangeKind.READ}
        if self.is_current and any(change.kind in kinds for change in event.changes):
            self._load()

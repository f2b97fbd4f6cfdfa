"""The first screen: entries under their days, what is going on, and the keys that serve."""

from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from backend.domain import ChangeKind, Draft, EpisodeStatus, EpisodeSummary, Page, PageCursor, Status
from frontend.loading.pages import load_all, load_top
from frontend.messages import (
    CallFailed,
    ChangesSeen,
    DraftsArrived,
    EntriesArrived,
    EntryDeleted,
    EntryWritten,
    PageArrived,
)
from frontend.screens.base import CharlieScreen
from frontend.state.days import local_today
from frontend.state.opening import Opening, Phase
from frontend.state.wording import holdings
from frontend.widgets.key_hints import Hint, KeyHints
from frontend.widgets.status_line import Problem, StatusLine
from frontend.widgets.timeline import Timeline
from frontend.widgets.title_bar import TitleBar
from frontend.widgets.welcome import Welcome

PAGE_SIZE = 50
_LONG_LIST = 300
_CHANGES_OF_LIST = {ChangeKind.SAVED, ChangeKind.DELETED, ChangeKind.QUEUED, ChangeKind.READ}
_HINTS: tuple[Hint, ...] = (
    ("n", "new", "screen.new"),
    ("enter", "read", "screen.read"),
    ("e", "edit", "screen.edit"),
    ("d", "delete", "screen.delete"),
    ("u", "undo", "app.undo"),
    ("ctrl+p", "commands", "app.command_palette"),
    ("?", "help", "app.help"),
    ("q", "quit", "app.quit"),
    ("s", "settings", "app.settings"),
)


class HomeScreen(CharlieScreen):
    """All entries of the journal, newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New entry"),
        Binding("e", "edit", "Edit"),
        Binding("d,delete", "delete", "Delete"),
        Binding("r", "retry", "Retry"),
        Binding("D", "continue_draft", "Continue the draft"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self) -> None:
        super().__init__(name="home")
        # Raised for each journal shown, so that a page of another one is known as late.
        self._generation = 0
        self._next: PageCursor | None = None
        self._drafts: tuple[tuple[str, Draft], ...] = ()
        self._is_stale = False
        self._is_loading = False
        self._wants_last = False
        # The entry that the cursor goes to once it is in the list.
        self._written_uuid = ""

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        with Vertical(id="body"):
            yield Welcome(id="welcome")
            yield Timeline(id="timeline")
        yield Problem(id="problem")
        yield StatusLine(id="status")
        yield KeyHints(_HINTS)

    def on_mount(self) -> None:
        self._problem, self._status = self.query_one(Problem), self.query_one(StatusLine)
        self._timeline, self._welcome = self.query_one(Timeline), self.query_one(Welcome)
        self._problem.show("")
        self.watch(self.app, "opening", self._show_opening)
        self.watch(self.app, "status", self._show_status)
        self.watch(self.app, "journal", self._show_journal, init=False)
        self.set_interval(60, self._turn_day)

    def on_screen_resume(self) -> None:
        self.ask(self.charlie.runtime.drafts.pending, DraftsArrived, latest_of="drafts")
        if self._is_stale:
            self._reload()

    # What is shown

    def _show_opening(self, opening: Opening) -> None:
        self._show_emptiness()
        if opening.phase is Phase.OPEN:
            self._reload()

    def _show_status(self, status: Status | None) -> None:
        self._status.show(status)
        self._timeline.set_reading(status.reading_uuid if status else "")
        self._problem.show(status.problem if status else "")
        self._show_title()

    def _show_journal(self) -> None:
        self._generation += 1
        self._next = None
        self._is_loading = False
        self._timeline.show((), has_more=False)
        self._reload()

    def _show_title(self) -> None:
        status = self.charlie.status
        n_entries = status.journals.get(self.charlie.journal, 0) if status else 0
        remark = holdings(n_entries, len(self._drafts))
        self.query_one(TitleBar).show(f"Charlie · {self.charlie.journal}", remark)

    def _show_emptiness(self) -> None:
        """The welcome in the place of an empty list, in the words of the moment."""
        is_empty = not self._timeline.episodes
        self._welcome.show(self.charlie.opening, is_loading=self._is_loading)
        self._welcome.display, self._timeline.display = is_empty, not is_empty
        if not is_empty and self.is_current:
            self._timeline.focus()

    def _turn_day(self) -> None:
        if self._timeline.today != local_today():
            self._timeline.today = local_today()
            self._timeline.refresh()

    # The list

    def _reload(self) -> None:
        """Asks for what is loaded anew, one call at a time."""
        if self._is_loading or not self.charlie.opening.is_open:
            self._is_stale = True
            return
        self._is_stale, self._is_loading = False, True
        count = max(PAGE_SIZE, len(self._timeline.episodes))
        load = partial(load_top, self.charlie.runtime.journal, self.charlie.journal, count)
        self.ask(load, partial(EntriesArrived, self._generation))

    @on(EntriesArrived)
    def _take_entries(self, event: EntriesArrived) -> None:
        if event.generation != self._generation:
            return
        self._is_loading = False
        if event.page.next is not None and len(event.page.episodes) < len(self._timeline.episodes):
            # Older ones came in the meantime: a shorter list would move the cursor.
            self._reload()
            return
        self._put(event.page.episodes, event.page)
        self.call_after_refresh(self.charlie.note_shown)
        if self._written_uuid and not self._is_stale:
            self._timeline.select(self._written_uuid)
            self._written_uuid = ""
        if self._is_stale:
            # A long list that changes all the time, as during an import, leaves room for the keys.
            self.set_timer(0.01 if len(event.page.episodes) <= _LONG_LIST else 1.0, self._reload)

    @on(Timeline.MoreWanted)
    def _ask_for_more(self, event: Timeline.MoreWanted) -> None:
        if self._next is None:
            return
        self._wants_last = self._wants_last or event.is_all
        journal, name = self.charlie.runtime.journal, self.charlie.journal
        if self._wants_last:
            load = partial(load_all, journal, name, self._next)
        else:
            load = partial(journal.page, name, before=self._next, limit=PAGE_SIZE)
        self.ask(load, partial(PageArrived, self._generation), latest_of="more")

    @on(PageArrived)
    def _take_page(self, event: PageArrived) -> None:
        if event.generation != self._generation:
            return
        known = {episode.uuid for episode in self._timeline.episodes}
        older = tuple(episode for episode in event.page.episodes if episode.uuid not in known)
        self._put((*self._timeline.episodes, *older), event.page)
        if self._wants_last:
            self._timeline.select_last()
        if self._next is None:
            self._wants_last = False

    def _put(self, episodes: tuple[EpisodeSummary, ...], page: Page) -> None:
        self._next = page.next
        self._timeline.show(episodes, has_more=page.next is not None)
        self._show_emptiness()
        self._show_title()

    @on(CallFailed)
    def _stop_loading(self, event: CallFailed) -> None:
        self._is_stale = self._is_stale or self._is_loading
        self._is_loading = False

    @on(ChangesSeen)
    def _follow_changes(self, event: ChangesSeen) -> None:
        if any(change.kind in _CHANGES_OF_LIST for change in event.changes):
            if self.is_current:
                self._reload()
            else:
                self._is_stale = True

    @on(EntryWritten)
    def _follow_written(self, event: EntryWritten) -> None:
        self._written_uuid = event.uuid
        self._reload()

    @on(DraftsArrived)
    def _take_drafts(self, event: DraftsArrived) -> None:
        self._drafts = event.drafts
        self._show_title()

    # What one can do

    @on(Timeline.Opened)
    def _read(self, event: Timeline.Opened) -> None:
        self.charlie.open_reader(event.uuid, tuple(episode.uuid for episode in self._timeline.episodes))

    def action_read(self) -> None:
        """Reads the entry under the cursor."""
        self._timeline.action_open()

    def action_new(self) -> None:
        """Opens an empty editor."""
        self.charlie.open_editor()

    def action_edit(self) -> None:
        """Opens the entry under the cursor in the editor."""
        if self._timeline.selected is not None:
            self.charlie.edit_entry(self._timeline.selected.uuid)

    def action_continue_draft(self) -> None:
        """Opens the newest draft that was never saved."""
        if self._drafts:
            self.charlie.open_editor(draft=self._drafts[0])

    def action_delete(self) -> None:
        """Removes the entry under the cursor; undo brings it back."""
        selected = self._timeline.selected
        if selected is not None:
            delete = partial(self.charlie.runtime.journal.delete, selected.uuid)
            self.ask(delete, lambda _: EntryDeleted(selected.uuid, selected.journal))

    @on(EntryDeleted)
    def _tell_deleted(self, event: EntryDeleted) -> None:
        self.charlie.changed_in = event.journal
        self.say("Deleted. Press u to bring it back.")
        self._reload()

    def action_retry(self) -> None:
        """Tries to open the journal again, or to read what was given up."""
        selected = self._timeline.selected
        if self.charlie.opening.phase is Phase.FAILED:
            self.charlie.reopen()
        elif selected is not None and selected.status is EpisodeStatus.DEAD:
            self.charlie.retry(selected.uuid)
        else:
            self.charlie.retry(None)

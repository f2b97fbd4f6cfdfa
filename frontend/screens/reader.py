"""Reading: an entry with the entities in it marked, and its connections beside it."""

from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Markdown, OptionList, Static

from backend.domain import ChangeKind, EpisodeStatus, Status
from frontend.loading.entry import load_entry
from frontend.messages import ChangesSeen, DoubtDecided, EntityRejected, EntryArrived, EntryDeleted, EntryMissing
from frontend.screens import reader_hints
from frontend.screens.base import CharlieScreen
from frontend.state.cells import one_line
from frontend.state.entry import EntryView, heading, standing
from frontend.state.wording import plural
from frontend.widgets.connections import Connections
from frontend.widgets.entry_body import EntryBody
from frontend.widgets.key_hints import KeyHints
from frontend.widgets.marked import MarkedMarkdown
from frontend.widgets.status_line import StatusLine
from frontend.widgets.title_bar import TitleBar

# Narrower than this there is no room for the connections beside the text: they take its place.
_NARROW_CELLS = 64


class ReaderScreen(CharlieScreen):
    """One entry; `order` is what n and p step through."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "Back"),
        Binding("e", "edit", "Edit"),
        Binding("d,delete", "delete", "Delete"),
        Binding("r", "retry", "Retry"),
        Binding("n", "step(1)", "Next"),
        Binding("p", "step(-1)", "Previous"),
        Binding("a", "accept", "It is right"),
        Binding("x", "reject", "Not an entity here"),
        Binding("b", "sidebar", "Sidebar"),
        Binding("tab", "connections", "Connections"),
    ]

    AUTO_FOCUS = "Page"

    def __init__(self, uuid: str, order: tuple[str, ...]) -> None:
        super().__init__(name="reader")
        # The entry wanted; what the person says and does goes to the one shown, which is that of `_view`.
        self._uuid = uuid
        self._order = order
        self._view: EntryView | None = None
        # Whether the keys go to the connections.
        self._is_beside = False

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        with Horizontal(id="body"):
            yield EntryBody(id="entry")
            with Vertical(id="sidebar"):
                yield Static(id="standing", markup=False)
                yield Connections(id="connections")
        yield StatusLine(id="status")
        yield KeyHints(reader_hints.IN_TEXT)

    def on_mount(self) -> None:
        self._body = self.query_one(EntryBody)
        self._connections = self.query_one(Connections)
        self._standing = self.query_one("#standing", Static)
        self.watch(self.app, "status", self._show_status)
        self.watch(self.app, "has_sidebar", self._show_sidebar)
        self._load()

    def on_screen_resume(self) -> None:
        if self._view is not None:
            self._load()

    def on_resize(self) -> None:
        self._show_sidebar()

    def _load(self) -> None:
        load = partial(load_entry, self.charlie.runtime.journal, self.charlie.runtime.review, self._uuid)
        self.ask(load, EntryArrived, partial(EntryMissing, self._uuid), latest_of="entry")

    # What is shown

    @on(EntryArrived)
    async def _show(self, event: EntryArrived) -> None:
        view = event.view
        if view.episode.uuid != self._uuid or view == self._view:
            return
        is_first = self._view is None or self._view.episode.uuid != view.episode.uuid
        self._view = view
        words = plural(len(view.episode.text.split()), "word")
        self.query_one(TitleBar).show(heading(view), words)
        self._connections.show(view.connections, view.doubts)
        self._show_standing()
        self._show_sidebar()
        await self._body.show(view.episode.text, view.connections, view.doubts)
        self._follow_cursor()
        if is_first:
            self._body.go_to_top()

    @on(EntryMissing)
    def _tell_missing(self, event: EntryMissing) -> None:
        if event.uuid == self._uuid:
            self.say(event.problem, is_error=True)
            self.dismiss()

    def _show_status(self, status: Status | None) -> None:
        self.query_one(StatusLine).show(status)
        self._show_standing()

    def _show_standing(self) -> None:
        words = standing(self._view, self.charlie.status) if self._view else ""
        self._standing.update(Content(one_line(words)))
        self._standing.display = bool(words)

    def _show_sidebar(self) -> None:
        is_narrow = self.app.size.width < _NARROW_CELLS
        is_shown = self.charlie.has_sidebar and (self._is_beside or not is_narrow)
        sidebar = self.query_one("#sidebar")
        sidebar.display = is_shown
        sidebar.set_class(is_shown and is_narrow, "alone")
        self.query_one(EntryBody).display = not (is_shown and is_narrow)

    @on(ChangesSeen)
    def _follow_changes(self, event: ChangesSeen) -> None:
        kinds = {ChangeKind.SAVED, ChangeKind.DELETED, ChangeKind.READ, ChangeKind.QUEUED}
        if any(change.kind in kinds and change.uuid in ("", self._uuid) for change in event.changes):
            self._load()

    def on_descendant_focus(self) -> None:
        self._is_beside = self.focused is self._connections
        self._show_sidebar()
        self._follow_cursor()

    # Connections

    @on(OptionList.OptionHighlighted)
    def _follow_cursor(self) -> None:
        """The keys and the marks that go with the line under the cursor."""
        has_doubts = self._view is not None and bool(self._view.doubts)
        option = self._connections.highlighted_option if self._is_beside else None
        if not self._is_beside:
            hints = reader_hints.IN_TEXT_UNSURE if has_doubts else reader_hints.IN_TEXT
        elif self._connections.selected_doubt:
            hints = reader_hints.ON_DOUBT
        else:
            hints = reader_hints.ON_CONNECTION if option else reader_hints.ON_NOTHING
        self.query_one(KeyHints).show(hints)
        self._body.emphasise((option.id if option else "") or "")

    @on(OptionList.OptionSelected)
    def _open_mentions(self) -> None:
        self.action_mentions()

    @on(MarkedMarkdown.MarkClicked)
    def _follow_mark(self, event: MarkedMarkdown.MarkClicked) -> None:
        self._connections.select(event.entity_uuid)
        self._connections.focus()

    @on(Markdown.LinkClicked)
    def _tell_address(self, event: Markdown.LinkClicked) -> None:
        self.say(one_line(event.href))

    def action_connections(self) -> None:
        """Moves to the connections, showing them where they are hidden, and from there back to the text."""
        self._is_beside = self.focused is not self._connections
        if self._is_beside:
            self.charlie.has_sidebar = True
        self._show_sidebar()
        if self._is_beside:
            self._connections.focus()
        else:
            self._body.take_focus()

    def action_mentions(self) -> None:
        """Lists the entries that mention the selected entity."""
        entity = self._connections.selected
        if entity is not None and self._view is not None:
            self.charlie.open_mentions(entity, self._view.episode.journal)

    def action_accept(self) -> None:
        """Says that the selected doubt is right; undo takes it back."""
        self._decide(is_right=True)

    def action_reject(self) -> None:
        """Says that the selected entity or doubt is none here; undo takes it back."""
        entity, view = self._connections.selected, self._view
        if entity is not None and view is not None and self.focused is self._connections:
            reject = partial(self.charlie.runtime.journal.reject, view.episode.uuid, entity.uuid)
            self.ask(reject, lambda _: EntityRejected(view.episode.journal, entity))
        self._decide(is_right=False)

    def _decide(self, *, is_right: bool) -> None:
        doubt, review, view = self._connections.selected_doubt, self.charlie.runtime.review, self._view
        if doubt is not None and view is not None and self.focused is self._connections:
            decide = partial(review.accept if is_right else review.dismiss, view.episode.uuid, doubt)
            self.ask(decide, lambda _: DoubtDecided(view.episode.journal, doubt, is_right))

    @on(EntityRejected)
    def _tell_rejected(self, event: EntityRejected) -> None:
        self._tell_said(event.journal, event.entity.name, is_right=False)

    @on(DoubtDecided)
    def _tell_decided(self, event: DoubtDecided) -> None:
        self._tell_said(event.journal, event.doubt.name, is_right=event.is_right)

    def _tell_said(self, journal: str, name: str, *, is_right: bool) -> None:
        self.charlie.changed_in = journal
        became = "counts here now" if is_right else "is not marked here any more"
        self.say(f"{one_line(name)[:40]} {became}. Press u to take that back.")
        self._load()

    # The entry

    def action_back(self) -> None:
        """Returns to where one came from."""
        self.dismiss()

    def action_edit(self) -> None:
        """Opens the entry in the editor."""
        if self._view is not None:
            self.charlie.open_editor(episode=self._view.episode)

    def action_delete(self) -> None:
        """Removes the entry; undo brings it back."""
        if self._view is not None:
            shown = self._view.episode
            delete = partial(self.charlie.runtime.journal.delete, shown.uuid)
            self.ask(delete, lambda _: EntryDeleted(shown.uuid, shown.journal))

    @on(EntryDeleted)
    def _leave_deleted(self, event: EntryDeleted) -> None:
        self.charlie.changed_in = event.journal
        self.say("Deleted. Press u to bring it back.")
        self.dismiss()

    def action_retry(self) -> None:
        """Has an entry read again that was given up."""
        if self._view is not None and self._view.status is EpisodeStatus.DEAD:
            self.charlie.retry(self._view.episode.uuid)

    def action_step(self, step: int) -> None:
        """To the entry after this one in the list, or before it."""
        index = self._order.index(self._uuid) + step if self._uuid in self._order else -1
        if 0 <= index < len(self._order):
            self._uuid = self._order[index]
            self._load()

    def action_sidebar(self) -> None:
        """Shows or hides the connections."""
        self.charlie.action_sidebar()

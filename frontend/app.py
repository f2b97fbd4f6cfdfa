"""The application: opens the journal behind the first paint, follows its changes, and does what any screen may ask."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import var
from textual.screen import Screen
from textual.theme import Theme

from backend.domain import Draft, Episode, Status
from frontend import routes
from frontend.ending import DraftKeepingApp
from frontend.loading.calls import ask
from frontend.loading.inbox import ChangeInbox
from frontend.loading.opening import open_again, outcome
from frontend.loading.settings import keep_theme
from frontend.messages import (
    BackendFailed,
    BackendOpened,
    CallFailed,
    ChangesArrived,
    ChangesSeen,
    EntryFetched,
    JournalsArrived,
    LoadingProgressed,
    Retried,
    SettingKept,
    StatusArrived,
    Undid,
)
from frontend.shell import Shell
from frontend.state.colours import entity_colours
from frontend.state.opening import Opening, Phase
from frontend.state.wording import plural, undone

if TYPE_CHECKING:
    from concurrent.futures import Future

    from backend.services.runtime import Runtime

# Screens hear of changes at most this often, seconds.
CHANGES_EVERY_S = 0.1
_DEFAULT_THEME = "textual-dark"


class CharlieApp(DraftKeepingApp):
    """Charlie's screens over a Runtime, which its builder opens and closes.

    `opening` is the future of `runtime.open()` under way elsewhere; without it the runtime is open already.
    `show_loading` may be called from any thread while a large journal loads.
    """

    CSS_PATH = "charlie.tcss"
    TITLE = "Charlie"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "Help", show=False),
        Binding("u", "undo", "Undo", show=False),
        Binding("v", "review", "Review", show=False),
        Binding("s", "settings", "Settings", show=False),
    ]

    opening: var[Opening] = var(Opening(Phase.OPENING), init=False)
    status: var[Status | None] = var(None, init=False)
    journal: var[str] = var("", init=False)
    has_sidebar: var[bool] = var(True, init=False)

    def __init__(self, runtime: "Runtime", opening: "Future[None] | None" = None) -> None:
        super().__init__(runtime.settings.logs_dir / "charlie.log")
        self.runtime = runtime
        self._opening_future = opening
        self._inbox = ChangeInbox(lambda: self.post_message(ChangesArrived()))
        self._unsubscribe: Callable[[], None] | None = None
        self._is_shown = False
        # The journal of the person's last change, which undo takes back.
        self.changed_in = runtime.settings.journal
        self.set_reactive(CharlieApp.journal, runtime.settings.journal)
        if opening is None:
            self.set_reactive(CharlieApp.opening, Opening(Phase.OPEN))
        known = runtime.settings.theme in self.available_themes
        self.theme = runtime.settings.theme if known else _DEFAULT_THEME

    # The beginning and the end

    def get_default_screen(self) -> Screen[None]:
        """The list of entries."""
        return routes.home()

    def get_css_variables(self) -> dict[str, str]:
        """Textual's, and a colour for each type of entity that suits the theme."""
        return {**super().get_css_variables(), **entity_colours(is_dark=self.current_theme.dark)}

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        if not self.is_headless:
            self.end_on_signals()
        if self._opening_future is None:
            self._take_opened()
        else:
            self._follow_opening(self._opening_future)

    def on_unmount(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()

    # Opening

    def show_loading(self, fraction: float) -> None:
        """How far the database is with loading, 0 to 1. Any thread."""
        self.post_message(LoadingProgressed(fraction))

    def reopen(self) -> None:
        """Tries to open the journal again."""
        self.opening = Opening(Phase.OPENING)
        self._follow_opening(open_again(self.runtime))

    def _follow_opening(self, opening: "Future[None]") -> None:
        opening.add_done_callback(lambda ended: self.post_message(outcome(ended)))

    @on(LoadingProgressed)
    def _show_progress(self, event: LoadingProgressed) -> None:
        if self.opening.phase is Phase.OPENING:
            self.opening = Opening(Phase.OPENING, fraction=event.fraction)

    @on(BackendFailed)
    def _show_failure(self, event: BackendFailed) -> None:
        self.opening = Opening(Phase.FAILED, problem=event.problem)

    @on(BackendOpened)
    def _take_opened(self) -> None:
        if self._unsubscribe is None:
            self._unsubscribe = self.runtime.events.subscribe(self._inbox.put)
        self.opening = Opening(Phase.OPEN)
        self._ask_status()

    def note_shown(self) -> None:
        """The entries are on the screen: what the other screens import can come now."""
        if not self._is_shown:
            self._is_shown = True
            self.set_timer(1.0, routes.import_screens)

    # Changes

    @on(ChangesArrived)
    def _gather_changes(self) -> None:
        self.set_timer(CHANGES_EVERY_S, self._pass_changes_on)

    def _pass_changes_on(self) -> None:
        changes = self._inbox.take()
        for screen in self.screen_stack:
            screen.post_message(ChangesSeen(changes))
        self._ask_status()

    def _ask_status(self) -> None:
        ask(self, self.runtime.status, StatusArrived, latest_of="status")

    @on(StatusArrived)
    def _take_status(self, event: StatusArrived) -> None:
        self.status = event.status

    @on(CallFailed)
    def _tell_failure(self, event: CallFailed) -> None:
        self.notify(event.problem, severity="error", markup=False)

    # Where one can go

    # Functions over an application: these are its methods.
    close_editor = routes.close_editor
    open_reader = routes.open_reader
    open_mentions = routes.open_mentions
    action_review = routes.open_review
    action_settings = routes.open_settings
    action_help = routes.open_help

    def open_editor(self, *, episode: Episode | None = None, draft: tuple[str, Draft] | None = None) -> None:
        """Opens an editor: empty, with an entry, or with a draft left over."""
        routes.open_editor(self, self.runtime.drafts, self.journal, episode=episode, draft=draft)

    def edit_entry(self, uuid: str) -> None:
        """Fetches an entry and opens it in the editor."""
        ask(self, partial(self.runtime.journal.get, uuid), EntryFetched, latest_of="edit")

    @on(EntryFetched)
    def _edit_fetched(self, event: EntryFetched) -> None:
        if self.screen.name == "home":
            self.open_editor(episode=event.episode)

    # What can be done from anywhere

    def action_sidebar(self) -> None:
        """Shows or hides the connections."""
        self.has_sidebar = not self.has_sidebar

    def action_undo(self) -> None:
        """Takes the last change to the journal back."""
        name = self.changed_in
        undo = partial(self.runtime.journal.undo, name)
        ask(self, undo, lambda undone: Undid(undone.kind if undone else "", name))

    @on(Undid)
    def _tell_undone(self, event: Undid) -> None:
        elsewhere = f" (journal {event.journal})" if event.journal != self.journal else ""
        self.notify(undone(event.kind) + elsewhere, markup=False)

    def retry(self, uuid: str | None) -> None:
        """Has one entry, or all that were given up, read again."""
        ask(self, partial(self.runtime.journal.retry, uuid), Retried)

    @on(Retried)
    def _tell_retried(self, event: Retried) -> None:
        words = f"{plural(event.count, 'entry', 'entries')} will be read again." if event.count else "Nothing to retry."
        self.notify(words, markup=False)

    def choose_journal(self) -> None:
        """Lists the journals to choose from."""
        ask(self, self.runtime.journal.journals, lambda journals: JournalsArrived(sorted(journals.items())))

    @on(JournalsArrived)
    def _offer_journals(self, event: JournalsArrived) -> None:
        routes.open_journals(self, event.journals, self.journal, self._switch_journal)

    def _switch_journal(self, name: str | None) -> None:
        if name:
            self.journal = self.changed_in = name

    def _keep_theme(self, theme: Theme) -> None:
        settings = self.runtime.settings
        if theme.name != settings.theme:
            ask(self, partial(keep_theme, settings, theme.name), lambda _: SettingKept())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        if screen.name in routes.PLACES:
            yield SystemCommand("New entry", "Write about your day", self.open_editor)
            yield SystemCommand("Switch journal", "Choose another journal or begin one", self.choose_journal)
            yield SystemCommand("Undo", "Take the last change back", self.action_undo)
            yield SystemCommand("Retry", "Read again what was given up", partial(self.retry, None))
            yield SystemCommand("Review", "Decide what readers were not sure of", self.action_review)
            yield SystemCommand("Settings", "What is set, and which model reads", self.action_settings)
            yield SystemCommand("Sidebar", "Show or hide the connections of an entry", self.action_sidebar)
        yield SystemCommand("Theme", "Choose the colours", self.action_change_theme)
        yield SystemCommand("Help", "Every key", self.action_help)
        yield SystemCommand("Quit", "Leave Charlie; what is being written is kept", self.end)


if TYPE_CHECKING:

    def _as_shell(app: CharlieApp) -> Shell:
        """Screens take the application for a Shell: here mypy sees to it that it is one."""
        return app

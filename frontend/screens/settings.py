"""Settings: which model reads, which ones there are, how good they are here, and what is set."""

from collections.abc import Callable
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.worker import Worker, WorkerState

from frontend.loading.settings import choose, load_settings_view, try_model
from frontend.messages import ModelChosen, SelfTestEnded, SelfTestProgressed, SettingsArrived
from frontend.screens.base import CharlieScreen
from frontend.state.cells import one_line
from frontend.widgets.key_hints import Hint, KeyHints
from frontend.widgets.model_list import ModelList
from frontend.widgets.setting_table import SettingTable
from frontend.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from backend.services.verdict import SelfTest

_HINTS: tuple[Hint, ...] = (
    ("escape", "back", "screen.back"),
    ("enter", "read with this model", "screen.use"),
    ("t", "try it on a dozen entries", "screen.try"),
    ("?", "help", "app.help"),
)
_HINTS_TRYING: tuple[Hint, ...] = (("escape", "stop the test", "screen.back"), ("?", "help", "app.help"))
_HINTS_CHECKING: tuple[Hint, ...] = (("escape", "stop the check", "screen.back"), ("?", "help", "app.help"))
_CHANGING = "Other settings are changed in charlie.toml in the home, or by CHARLIE_… in the environment."


class SettingsScreen(CharlieScreen):
    """Shows; chooses the model that reads; tries one. One check or test at a time, and it ends with the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "Back"),
        Binding("t", "try", "Try the model"),
    ]

    def __init__(self) -> None:
        super().__init__(name="settings")
        # Set to end the check or the test that runs; None while none does.
        self._stop: Event | None = None
        self._work: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        with VerticalScroll(id="body"):
            yield Static("Models", classes="heading")
            yield ModelList(id="models")
            yield Static(id="trial", markup=False)
            yield Static("Settings", classes="heading")
            yield SettingTable(id="values", markup=False)
            yield Static(_CHANGING, id="changing", markup=False)
        yield KeyHints(_HINTS)

    def on_mount(self) -> None:
        self._models, self._trial = self.query_one(ModelList), self.query_one("#trial", Static)
        self._models.focus()
        self.query_one(TitleBar).show("Settings")
        self._tell("", None)
        self._load()

    def on_unmount(self) -> None:
        # However it closes: with Charlie, too.
        if self._stop is not None:
            self._stop.set()

    def _load(self) -> None:
        self.ask(partial(load_settings_view, self.charlie.runtime), SettingsArrived, latest_of="settings")

    @on(SettingsArrived)
    def _show(self, event: SettingsArrived) -> None:
        self._models.show(event.view.models)
        self.query_one(SettingTable).show(event.view.values)
        active = next((one_line(model.name) for model in event.view.models if model.is_active), "")
        self.query_one(TitleBar).show("Settings", f"{active} reads" if active else "")

    def action_back(self) -> None:
        """Stops the check or the test that runs; without one, returns to where one came from."""
        if self._stop is None:
            self.dismiss()
        else:
            self._stop.set()
            self._tell("Stopping …", None)

    # Choosing

    @on(OptionList.OptionSelected)
    def action_use(self) -> None:
        """Has new entries read with the model under the cursor."""
        model = self._models.selected
        if model is None or model.is_active:
            return
        if self._stop is not None:
            self.say("A check or a test is running: stop it with escape first.")
            return
        stopping = self._begin(f"Checking {one_line(model.name)} …", _HINTS_CHECKING)
        self._work = self.ask(partial(choose, self.charlie.runtime, model.choice, stopping), _chosen, self._failed)

    @on(ModelChosen)
    def _tell_chosen(self, event: ModelChosen) -> None:
        self._end(f"{one_line(event.name)} reads new entries from now on.", True)
        self._load()

    # Trying

    def action_try(self) -> None:
        """Has the model under the cursor read a dozen annotated entries, in a process of its own."""
        model = self._models.selected
        if model is None or self._stop is not None:
            return
        stopping = self._begin(f"Trying {one_line(model.name)} …", _HINTS_TRYING)
        test = partial(
            try_model,
            self.charlie.runtime,
            model.choice,
            on_progress=self._progressed(one_line(model.name)),
            stopping=stopping,
        )
        self._work = self.ask(test, _ended, self._failed)

    def _progressed(self, name: str) -> Callable[[str], None]:
        """Passes on how far the test is. Any thread."""

        def progressed(words: str) -> None:
            self.post_message(SelfTestProgressed(f"{name}: {words}"))

        return progressed

    @staticmethod
    def _failed(problem: str) -> Message:
        return SelfTestEnded((problem,), None)

    @on(SelfTestProgressed)
    def _show_progress(self, event: SelfTestProgressed) -> None:
        if self._stop is not None and not self._stop.is_set():
            self._tell(event.words, None)

    @on(SelfTestEnded)
    def _show_end(self, event: SelfTestEnded) -> None:
        self._end("\n".join(event.words), event.is_good)

    @on(Worker.StateChanged)
    def _end_after_defect(self, event: Worker.StateChanged) -> None:
        # No answer will come; what to say of it is said already, as of any call.
        if event.worker is self._work and event.state is WorkerState.ERROR:
            self._end("", None)

    def _begin(self, words: str, hints: tuple[Hint, ...]) -> Callable[[], bool]:
        """Says what is under way from now on; what is returned tells whether it is to stop."""
        self._stop = Event()
        self._tell(words, None)
        self.query_one(KeyHints).show(hints)
        return self._stop.is_set

    def _end(self, words: str, is_good: bool | None) -> None:
        self._stop = self._work = None
        self._tell(words, is_good)
        self.query_one(KeyHints).show(_HINTS)

    def _tell(self, words: str, is_good: bool | None) -> None:
        self._trial.update(Content(words))
        self._trial.display = bool(words)
        self._trial.set_class(is_good is True, "good")
        self._trial.set_class(is_good is False, "bad")


def _chosen(name: str | None) -> Message:
    return SelfTestEnded(("Stopped: nothing is changed.",), None) if name is None else ModelChosen(name)


def _ended(test: "SelfTest | None") -> Message:
    if test is None:
        return SelfTestEnded(("Stopped.",), None)
    return SelfTestEnded(test.words(), test.is_good)

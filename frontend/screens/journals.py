"""Choosing a journal, or beginning a new one."""

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from backend.errors import EntryInvalid
from backend.text import check_journal
from frontend.state.wording import plural


class JournalsScreen(ModalScreen[str | None]):
    """Gives the name of the journal to show, None when nothing was chosen; `current` is one of `journals`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, journals: Sequence[tuple[str, int]], current: str) -> None:
        super().__init__()
        self._journals = tuple(journals)
        self._current = current

    def compose(self) -> ComposeResult:
        with Vertical(id="journals"):
            yield OptionList(*(_option(name, count) for name, count in self._journals), markup=False, compact=True)
            yield Input(placeholder="or a new journal: its name", compact=True)
            yield Static(id="refusal", markup=False)

    def on_mount(self) -> None:
        self.query_one("#journals").border_title = "Journals"
        choices = self.query_one(OptionList)
        choices.highlighted = choices.get_option_index(self._current)
        choices.focus()

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    @on(Input.Submitted)
    def _begin(self, event: Input.Submitted) -> None:
        try:
            self.dismiss(check_journal(event.value.strip()))
        except EntryInvalid as error:
            self.query_one("#refusal", Static).update(Content(str(error)))

    def action_cancel(self) -> None:
        """Closes without a choice."""
        self.dismiss(None)


def _option(name: str, count: int) -> Option:
    words = plural(count, "entry", "entries")
    return Option(Content.assemble(name, "  ", (words, "$text-muted")), id=name)

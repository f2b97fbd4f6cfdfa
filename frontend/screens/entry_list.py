"""What screens have in common that list some entries, to be read one after another."""

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from frontend.screens.base import CharlieScreen
from frontend.widgets.timeline import Timeline


class EntryListScreen(CharlieScreen):
    """A timeline whose entries open in the reader; who inherits sets `_timeline` when it is mounted."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "back", "Back")]

    _timeline: Timeline

    @on(Timeline.Opened)
    def _read(self, event: Timeline.Opened) -> None:
        self.charlie.open_reader(event.uuid, tuple(episode.uuid for episode in self._timeline.episodes))

    def action_read(self) -> None:
        """Reads the entry under the cursor."""
        self._timeline.action_open()

    def action_back(self) -> None:
        """Returns to where one came from."""
        self.dismiss()

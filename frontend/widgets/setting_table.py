"""What is set, with where it comes from."""

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from frontend.state.cells import fit, one_line
from frontend.state.settings_view import SettingLine

_KEY_CELLS, _SOURCE_CELLS = 20, 13


class SettingTable(Static):
    """Key, source and value; what is not the default stands out."""

    def show(self, values: Sequence[SettingLine]) -> None:
        """Puts these in the place of those shown."""
        self.update(Content("\n").join(_line(setting) for setting in values))


def _line(setting: SettingLine) -> Content:
    look = "$text-muted" if setting.source == "default" else "bold $foreground"
    key, source = fit(setting.key, _KEY_CELLS), fit(setting.source, _SOURCE_CELLS)
    return Content.assemble((key, look), (source, "$text-muted"), (one_line(setting.value), look))

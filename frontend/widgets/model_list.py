"""The models that can read, the one that does marked."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from frontend.state.cells import fit, one_line
from frontend.state.settings_view import ModelLine

_NAME_CELLS = 34


class ModelList(OptionList):
    """One line a model; the cursor begins at the one that reads."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False, compact=True)
        self._models: tuple[ModelLine, ...] = ()

    @property
    def selected(self) -> ModelLine | None:
        """The model under the cursor."""
        option = self.highlighted_option
        return next((model for model in self._models if option and model.choice == option.id), None)

    def show(self, models: Sequence[ModelLine]) -> None:
        """Puts `models` in the place of those shown; the cursor stays on its model."""
        selected = self.selected or next((model for model in models if model.is_active), None)
        self._models = tuple(models)
        self.clear_options()
        self.add_options(Option(_line(model), id=model.choice) for model in self._models)
        if selected and any(model.choice == selected.choice for model in self._models):
            self.highlighted = self.get_option_index(selected.choice)


def _line(model: ModelLine) -> Content:
    mark = ("● ", "$text-success") if model.is_active else "  "
    name = fit(one_line(model.name), _NAME_CELLS)
    return Content.assemble(mark, name, " ", (one_line(model.about), "$text-muted"))

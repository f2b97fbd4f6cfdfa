"""The people, places, groups and activities in an entry: grouped, counted, in the colours of the text."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from backend.domain import Connection, Entity, EntityType
from frontend.state.cells import fit, one_line

_HEADINGS = {
    EntityType.PERSON: "People",
    EntityType.PLACE: "Places",
    EntityType.GROUP: "Groups",
    EntityType.ACTIVITY: "Activities",
}


class Connections(OptionList):
    """One line an entity, under its type; the number is of entries that mention it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False, compact=True)
        self._connections: tuple[Connection, ...] = ()

    @property
    def selected(self) -> Entity | None:
        """The entity under the cursor."""
        option = self.highlighted_option
        return self.entity(option.id) if option is not None and option.id else None

    def entity(self, uuid: str) -> Entity | None:
        """A shown entity by its uuid."""
        return next((item.entity for item in self._connections if item.entity.uuid == uuid), None)

    def show(self, connections: Sequence[Connection]) -> None:
        """Puts `connections` in the place of those shown; the cursor stays on its entity."""
        if tuple(connections) == self._connections:
            return
        selected = self.selected
        self._connections = tuple(connections)
        self.clear_options()
        self.add_options(self._options_of_types())
        if selected is not None and self.entity(selected.uuid):
            self.highlighted = self.get_option_index(selected.uuid)

    def on_focus(self) -> None:
        if self.highlighted is None:
            self.action_first()

    def select(self, uuid: str) -> None:
        """Puts the cursor on an entity that is shown."""
        if self.entity(uuid):
            self.highlighted = self.get_option_index(uuid)

    def _options_of_types(self) -> list[Option]:
        width = max(8, self.scrollable_content_region.width - 2)
        options: list[Option] = []
        for type_, heading in _HEADINGS.items():
            entities = [item.entity for item in self._connections if item.entity.type is type_]
            if not entities:
                continue
            if options:
                options.append(Option("", disabled=True))
            look = f"bold $entity-{type_.value.lower()}"
            options.append(Option(Content.assemble((f"■ {heading}", look)), disabled=True))
            options.extend(Option(_line(entity, width), id=entity.uuid) for entity in entities)
        return options


def _line(entity: Entity, width: int) -> Content:
    count = f"{entity.n_episodes:,}" if entity.n_episodes > 1 else ""
    name = fit(one_line(entity.name), max(1, width - len(count) - 3))
    return Content.assemble("  ", name, " ", (count, "$text-muted"))

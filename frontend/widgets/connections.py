"""The people, places, groups and activities in an entry, grouped and counted; below them what is not sure."""

from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from backend.domain import Connection, Doubt, Entity, EntityType
from frontend.state.cells import fit, one_line
from frontend.state.marking import doubt_id

_HEADINGS = {
    EntityType.PERSON: "People",
    EntityType.PLACE: "Places",
    EntityType.GROUP: "Groups",
    EntityType.ACTIVITY: "Activities",
}


# More than a person decides at one sitting; ten thousand lines would hold the screen for half a second.
MOST_DOUBTS = 200


class Connections(OptionList):
    """One line an entity, under its type, with the number of entries that mention it; then one a doubt, with how sure.

    Of doubts the first 200 are listed: those after them come up as these are decided.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False, compact=True)
        self._connections: tuple[Connection, ...] = ()
        # By id, in the order of the text.
        self._doubts: dict[str, Doubt] = {}

    @property
    def selected_doubt(self) -> Doubt | None:
        """What is not sure, under the cursor."""
        option = self.highlighted_option
        return self._doubts.get(option.id) if option and option.id else None

    @property
    def selected(self) -> Entity | None:
        """The entity under the cursor."""
        option = self.highlighted_option
        return self.entity(option.id) if option is not None and option.id else None

    def entity(self, uuid: str) -> Entity | None:
        """A shown entity by its uuid."""
        return next((item.entity for item in self._connections if item.entity.uuid == uuid), None)

    def show(self, connections: Sequence[Connection], doubts: Sequence[Doubt] = ()) -> None:
        """Puts these in the place of those shown; the cursor stays on its line, or goes on to the next doubt."""
        fresh = {doubt_id(doubt): doubt for doubt in doubts}
        if (tuple(connections), fresh) == (self._connections, self._doubts):
            return
        selected, doubted = self.selected, self.selected_doubt
        at = list(self._doubts).index(doubt_id(doubted)) if doubted else 0
        self._connections, self._doubts = tuple(connections), fresh
        self.clear_options()
        self.add_options([*self._options_of_types(), *self._options_of_doubts()])
        if selected is not None and self.entity(selected.uuid):
            self.highlighted = self.get_option_index(selected.uuid)
        elif doubted is not None and self._doubts:
            former, ids = doubt_id(doubted), list(self._doubts)
            self.select(former if former in fresh else ids[min(at, len(ids) - 1)])

    def on_focus(self) -> None:
        """The cursor begins at what waits for the person's word, where something does."""
        if self.highlighted is None and self._doubts:
            self.select(next(iter(self._doubts)))
        elif self.highlighted is None:
            self.action_first()

    def select(self, uuid: str) -> None:
        """Puts the cursor on an entity, or a doubt by its id, that is shown."""
        if any(option.id == uuid for option in self.options):
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

    def _options_of_doubts(self) -> list[Option]:
        if not self._doubts:
            return []
        width = max(8, self.scrollable_content_region.width - 2)
        options = [Option("", disabled=True)] if self._connections else []
        options.append(Option(Content.assemble(("? Unsure", "bold italic $text-warning")), disabled=True))
        shown = islice(self._doubts.items(), MOST_DOUBTS)
        options.extend(Option(_doubt_line(doubt, width), id=id_) for id_, doubt in shown)
        if len(self._doubts) > MOST_DOUBTS:
            more = f"  … and {len(self._doubts) - MOST_DOUBTS:,} more"
            options.append(Option(Content.assemble((more, "$text-muted")), disabled=True))
        return options


def _doubt_line(doubt: Doubt, width: int) -> Content:
    remark = f"{doubt.type.value.lower()} {doubt.confidence:.0%}"
    name = fit(one_line(doubt.name), max(1, width - len(remark) - 3))
    return Content.assemble("  ", (name, f"italic $entity-{doubt.type.value.lower()}"), " ", (remark, "$text-muted"))


def _line(entity: Entity, width: int) -> Content:
    count = f"{entity.n_episodes:,}" if entity.n_episodes > 1 else ""
    name = fit(one_line(entity.name), max(1, width - len(count) - 3))
    return Content.assemble("  ", name, " ", (count, "$text-muted"))

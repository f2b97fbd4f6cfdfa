"""What a screen asks of the application around it, which it knows as no more than this."""

from typing import TYPE_CHECKING, Protocol

from backend.domain import Draft, Entity, Episode, Status
from frontend.state.opening import Opening

if TYPE_CHECKING:
    from backend.services.runtime import Runtime


class Shell(Protocol):
    """The application, as its screens see it.

    `opening`, `status`, `journal` and `has_sidebar` are reactive: a screen watches them on `self.app`.
    """

    # Whether the connections of an entry are shown.
    has_sidebar: bool
    # The journal of the person's last change, which undo takes back.
    changed_in: str

    @property
    def runtime(self) -> "Runtime":
        """The services."""

    @property
    def opening(self) -> Opening:
        """How far the opening of the journal is."""

    @property
    def status(self) -> Status | None:
        """What is going on; None until it is known."""

    @property
    def journal(self) -> str:
        """The name of the journal that is shown."""

    def note_shown(self) -> None:
        """The entries are on the screen."""

    def reopen(self) -> None:
        """Tries to open the journal again."""

    def retry(self, uuid: str | None) -> None:
        """Has one entry, or all that were given up, read again."""

    def edit_entry(self, uuid: str) -> None:
        """Fetches an entry and opens it in the editor."""

    def open_editor(self, *, episode: Episode | None = None, draft: tuple[str, Draft] | None = None) -> None:
        """Opens an editor: empty, with an entry, or with a draft left over."""

    def close_editor(self, uuid: str) -> None:
        """Back from the editor; the list shows where the entry stands that was written, if one was."""

    def open_reader(self, uuid: str, order: tuple[str, ...] = ()) -> None:
        """Opens an entry; `order` is what next and previous step through."""

    def open_mentions(self, entity: Entity, journal: str) -> None:
        """Opens the list of the entries of `journal` that mention an entity."""

    def action_sidebar(self) -> None:
        """Shows or hides the connections."""

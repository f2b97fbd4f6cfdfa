"""What stands where the entries will be: the opening, a failure of it, or how to begin."""

from textual.content import Content
from textual.widgets import Static

from frontend.state.opening import Opening, Phase

_BEGIN = (
    "Nothing is written yet.\n\n"
    "Press n and write about your day; escape saves it.\n"
    "A moment later the people, places, groups and activities\n"
    "in it stand beside the text.\n\n"
    "Everything stays on this machine."
)


class Welcome(Static):
    """A few calm lines in the middle of an empty screen."""

    def show(self, opening: Opening, *, is_loading: bool) -> None:
        """Says how far the opening is, or how to begin once the journal is known to be empty."""
        match opening.phase:
            case Phase.FAILED:
                words = f"The journal cannot be opened.\n\n{opening.problem}\n\nPress r to try again, q to quit."
            case Phase.OPENING if opening.fraction is not None:
                words = f"Loading your journal … {opening.fraction:.0%}"
            case Phase.OPENING:
                words = "Opening your journal …"
            case _:
                words = "" if is_loading else _BEGIN
        self.update(Content(words))

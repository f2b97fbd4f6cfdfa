"""The least that Textual can do, to compare with: one line, or with the argument `area` one text field."""

import sys

from textual.app import App, ComposeResult
from textual.widgets import Static, TextArea


class BareApp(App[None]):
    """One widget and a key to quit."""

    BINDINGS = [("q", "quit", "Quit")]

    def compose(self) -> ComposeResult:
        """The widget."""
        yield TextArea() if sys.argv[1:] == ["area"] else Static("Nothing but this line.")


if __name__ == "__main__":
    BareApp().run()

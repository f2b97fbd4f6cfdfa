"""Help: every key, in one page over the screen."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

_KEYS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Entries",
        (
            ("n", "write a new entry"),
            ("enter", "read the entry under the cursor"),
            ("e", "edit it"),
            ("d", "delete it (u brings it back)"),
            ("u", "undo the last change"),
            ("v", "decide what readers were not sure of"),
            ("r", "read again what was given up"),
            ("D", "continue a draft that was never saved"),
            ("j k, arrows", "move; g and G: newest and oldest"),
        ),
    ),
    (
        "Writing",
        (
            ("escape", "save and close"),
            ("ctrl+s", "save and go on"),
            ("ctrl+z, ctrl+y", "undo and redo typing"),
            ("ctrl+q", "quit; the draft is kept"),
        ),
    ),
    (
        "Reading",
        (
            ("tab", "between the text and its connections"),
            ("enter", "entries that mention the connection"),
            ("x", "this is not an entity here"),
            ("a", "what is unsure is right (x: nothing)"),
            ("n p", "next and previous entry"),
            ("b", "show or hide the connections"),
            ("escape", "back"),
        ),
    ),
    (
        "Settings",
        (
            ("enter", "read with the model under the cursor"),
            ("t", "try it: how good and how quick here"),
            ("escape", "back; stops a test that runs"),
        ),
    ),
    (
        "Everywhere",
        (
            ("s", "settings: which model reads"),
            ("ctrl+p", "commands: journals, themes and more"),
            ("?", "this page (f1 while writing)"),
            ("ctrl+q", "quit"),
        ),
    ),
)


class HelpScreen(ModalScreen[None]):
    """All keys; any of escape, q and ? closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Static(_content())

    def on_mount(self) -> None:
        self.query_one("#help").border_title = "Help"


def _content() -> Content:
    parts: list[tuple[str, str]] = []
    for heading, keys in _KEYS:
        parts.append((f"{heading}\n", "bold $text-primary"))
        for key, words in keys:
            parts += [(f"  {key:<16}", "bold"), (f"{words}\n", "")]
        parts.append(("\n", ""))
    return Content.assemble(*parts).rstrip()

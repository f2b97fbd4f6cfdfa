"""The field that entries are written in, and the one that shows what is too long to be laid out."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.document._document import Document, EditResult, Location
from textual.document._document_navigator import DocumentNavigator
from textual.document._wrapped_document import WrappedDocument
from textual.widgets import TextArea

from frontend.state.cells import with_pictures

# Wrapping costs 1 ms for a few thousand characters: beyond this, lines run on to the right.
WRAP_LIMIT_CHARS = 200_000


class ExactDocument(Document):
    """Text whose lines end at line feeds only, so that what was not touched is saved as it was read.

    Textual's own splits at form feeds and Unicode separators too and joins with one kind of line end.
    """

    def __init__(self, text: str) -> None:
        super().__init__("")
        self._newline = "\n"
        self._lines = text.split("\n")

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        """Puts `text` in the place of the range; where it ends, and what was there."""
        (top_row, top_column), (bottom_row, bottom_column) = top, bottom = sorted((start, end))
        replaced = self.get_text_range(top, bottom)
        before = self._lines[top_row][:top_column] if top_row < len(self._lines) else ""
        after = self._lines[bottom_row][bottom_column:] if bottom_row < len(self._lines) else ""
        inserted = text.split("\n")
        inserted[0] = before + inserted[0]
        end_column = len(inserted[-1])
        inserted[-1] += after
        self._lines[top_row : bottom_row + 1] = inserted
        return EditResult((top_row + len(inserted) - 1, end_column), replaced)


class JournalArea(TextArea):
    """A plain text field that keeps the text exactly, and shows control characters in place of sending them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+end", "go_to_end", show=False)]

    def __init__(self, text: str = "", *, read_only: bool = False, id: str | None = None) -> None:
        super().__init__(
            text,
            read_only=read_only,
            soft_wrap=len(text) <= WRAP_LIMIT_CHARS,
            show_line_numbers=False,
            tab_behavior="focus" if read_only else "indent",
            highlight_cursor_line=False,
            id=id,
        )

    @property
    def head(self) -> str:
        """The first lines: enough for a title."""
        return "\n".join(line[:400] for line in self.document.lines[:20])

    def get_line(self, line_index: int) -> Text:
        """The line as it is drawn."""
        return Text(with_pictures(self.document.get_line(line_index)), end="", no_wrap=True)

    def action_go_to_end(self) -> None:
        """Puts the cursor after the last character."""
        self.move_cursor(self.document.end)

    def on_paste(self, event: events.Paste) -> None:
        # Terminals send a carriage return for each line end of what is pasted.
        event.text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        if self.soft_wrap and len(event.text) + sum(map(len, self.document.lines)) > WRAP_LIMIT_CHARS:
            self.soft_wrap = False

    def _set_document(self, text: str, language: str | None) -> None:
        self.document = ExactDocument(text)
        self.wrapped_document = WrappedDocument(self.document, tab_width=self.indent_width)
        self.navigator = DocumentNavigator(self.wrapped_document)
        self._build_highlight_map()
        self.move_cursor((0, 0))
        self._rewrap_and_refresh_virtual_size()

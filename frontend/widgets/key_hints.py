"""The keys that serve here, in one line that also takes clicks."""

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.content import Content, Span
from textual.style import Style
from textual.widget import Widget

# Textual's own "@click" would give the words the look of links.
_ACTION = "key_hint"
_GAP = "   "
# Key as pressed, word, action.
Hint = tuple[str, str, str]


class KeyHints(Widget):
    """`n new  enter read  …`, as many whole ones as the line holds; the first ones matter most.

    Fewer widgets than Textual's Footer, which costs 20 ms of the first paint.
    """

    def __init__(self, hints: Sequence[Hint]) -> None:
        super().__init__()
        self._hints = tuple(hints)

    def show(self, hints: Sequence[Hint]) -> None:
        """Puts other keys in the place of those shown."""
        self._hints = tuple(hints)
        self.refresh()

    def render(self) -> Content:
        """The hints at the line's present width."""
        text, spans = "", []
        for key, word, action in self._hints:
            start = len(text) + len(_GAP) if text else 0
            longer = f"{text}{_GAP if text else ''}{key} {word}"
            if cell_len(longer) > self.content_size.width:
                break
            text = longer
            spans.append(Span(start, start + len(key), "bold $foreground"))
            spans.append(Span(start, len(text), Style.from_meta({_ACTION: action})))
        return Content(text, spans=spans)

    async def on_click(self, event: events.Click) -> None:
        action = event.style.meta.get(_ACTION)
        if action:
            await self.run_action(action)

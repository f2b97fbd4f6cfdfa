"""The keys that serve here, in one line that also takes clicks."""

from collections.abc import Sequence

from textual import events
from textual.content import Content, Span
from textual.style import Style
from textual.widgets import Static

# Textual's own "@click" would give the words the look of links.
_ACTION = "key_hint"
# Key as pressed, word, action.
Hint = tuple[str, str, str]


class KeyHints(Static):
    """`n new  enter read  …`: fewer widgets than Textual's Footer, which costs 20 ms of the first paint."""

    def __init__(self, hints: Sequence[Hint]) -> None:
        super().__init__(_content(hints), markup=False)

    def show(self, hints: Sequence[Hint]) -> None:
        """Puts other keys in the place of those shown."""
        self.update(_content(hints))

    async def on_click(self, event: events.Click) -> None:
        action = event.style.meta.get(_ACTION)
        if action:
            await self.run_action(action)


def _content(hints: Sequence[Hint]) -> Content:
    text, spans = "", []
    for key, word, action in hints:
        start = len(text)
        text += f"{key} {word}"
        spans.append(Span(start, start + len(key), "bold $text-accent"))
        spans.append(Span(start, len(text), Style.from_meta({_ACTION: action})))
        text += "   "
    return Content(text.rstrip(), spans=spans)

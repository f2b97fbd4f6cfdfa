"""An entry as Markdown, with the entities in it marked by their type."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual import events
from textual.content import Content, Span
from textual.message import Message
from textual.style import Style
from textual.widgets import Markdown
from textual.widgets._markdown import MarkdownBlock, MarkdownFence, MarkdownTable

from backend.domain import EntityType
from frontend.state.cells import with_pictures
from frontend.state.marking import Mark, place

# Textual's own "@click" would give every mark the one look of links.
_ENTITY = "entity"


def style_of(type_: EntityType) -> str:
    """How a type of entity looks, in every theme; the colours are the app's own variables."""
    return f"$entity-{type_.value.lower()}"


def parser() -> MarkdownIt:
    """Markdown as people write it in a journal: nothing that was written disappears.

    Without HTML (it would be left out), definitions of references (a line such as `[Anna]: tired` would be),
    entities (`&amp;` stays as written) and indented code (an indented paragraph stays prose); line ends are kept.
    """
    markdown = MarkdownIt("gfm-like", {"html": False, "linkify": True})
    markdown.disable(["reference", "entity", "code", "html_block", "html_inline"])
    markdown.core.ruler.push("keep_line_ends", _keep_line_ends)
    return markdown


def _keep_line_ends(state: object) -> None:
    for token in getattr(state, "tokens", ()):
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


class MarkedMarkdown(Markdown):
    """Markdown that marks places of its source. Links are shown, not followed."""

    class MarkClicked(Message):
        """The person clicked on a marked entity."""

        def __init__(self, entity_uuid: str) -> None:
            super().__init__()
            self.entity_uuid = entity_uuid

    def __init__(self, text: str, marks: Sequence[Mark] = (), *, id: str | None = None) -> None:
        super().__init__(with_pictures(_unix(text)), id=id, parser_factory=parser, open_links=False)
        self._text = text
        self._marks = tuple(marks)
        self._emphasised = ""

    async def show(self, text: str, marks: Sequence[Mark]) -> None:
        """Shows a text with its marks; where only marks differ nothing is laid out anew."""
        is_same = text == self._text
        self._text, self._marks = text, tuple(marks)
        if is_same and not self.query(MarkdownTable):
            self._mark_all()
        else:
            await self.update(with_pictures(_unix(text)))

    def emphasise(self, entity_uuid: str) -> None:
        """Makes the places of one entity stand out; none for an empty uuid."""
        if entity_uuid != self._emphasised:
            self._emphasised = entity_uuid
            self._mark_all()

    def on_click(self, event: events.Click) -> None:
        entity_uuid = event.style.meta.get(_ENTITY)
        if entity_uuid:
            self.post_message(self.MarkClicked(entity_uuid))

    def _parse_markdown(self, tokens: Iterable[Token]) -> Iterable[MarkdownBlock]:
        source = self._lines()
        for block in super()._parse_markdown(tokens):
            self._mark(block, source, block.source_range)
            yield block

    def _mark_all(self) -> None:
        source = self._lines()
        for block in self.query(MarkdownBlock):
            self._mark(block, source, block.source_range)

    def _lines(self) -> list[int]:
        """Offset of each line of the text, and the end."""
        return [0, *(match.end() for match in re.finditer(r"\n", self._text)), len(self._text)]

    def _mark(self, block: MarkdownBlock, lines: list[int], around: tuple[int, int]) -> None:
        """Marks a block and those in it; a block without lines of its own lies in those `around` it."""
        span = block.source_range if block.source_range != (0, 0) else around
        for child in block._blocks:
            self._mark(child, lines, span)
        inline = block._inline_token
        if inline is None or isinstance(block, MarkdownFence):
            return
        content = block._token_to_content(inline)
        start, end = lines[min(span[0], len(lines) - 1)], lines[min(span[1], len(lines) - 1)]
        inside = [
            replace(mark, start=mark.start - start, end=mark.end - start)
            for mark in self._marks
            if start <= mark.start and mark.end <= end
        ]
        placed = place(with_pictures(self._text[start:end]), content.plain, inside)
        block.set_content(self._with_marks(content, placed))

    def _with_marks(self, content: Content, marks: Sequence[Mark]) -> Content:
        spans = list(content.spans)
        for mark in marks:
            # In a shape of its own, for those who do not see the colours: what is sure is underlined.
            shape = "italic" if mark.is_unsure else "underline"
            look = "bold reverse" if mark.entity_uuid == self._emphasised else shape
            spans.append(Span(mark.start, mark.end, f"{style_of(mark.type)} {look}"))
            spans.append(Span(mark.start, mark.end, Style.from_meta({_ENTITY: mark.entity_uuid})))
        return Content(content.plain, spans=spans)


def _unix(text: str) -> str:
    return text.replace("\r\n", " \n")

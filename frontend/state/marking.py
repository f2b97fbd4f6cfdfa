"""Where in a rendered text the places of its source are.

Markdown rendering leaves characters out (signs, addresses of links) and changes white space; it never reorders.
So the rendered text is, nearly, a subsequence of the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backend.domain import Connection, Doubt, EntityType

_BREAKS = {ord("\n"): " "}


@dataclass(frozen=True, slots=True)
class Mark:
    """A named place: code points of a text, end exclusive."""

    start: int
    end: int
    type: EntityType
    # Of the entity, or of what waits for the person's word (see `doubt_id`).
    entity_uuid: str
    is_unsure: bool = False


def doubt_id(doubt: Doubt) -> str:
    """What tells a doubt of an entry from the others and from every entity."""
    return f"?{doubt.type.value}:{doubt.key}"


def marks_of(connections: Sequence[Connection], n_chars: int, doubts: Sequence[Doubt] = ()) -> tuple[Mark, ...]:
    """All mentions and doubts as marks in order, without those that overlap an earlier one or exceed the text."""
    marks = [
        Mark(mention.start, mention.end, connection.entity.type, connection.entity.uuid)
        for connection in connections
        for mention in connection.mentions
    ]
    marks += (
        Mark(span.start, span.end, doubt.type, doubt_id(doubt), is_unsure=True)
        for doubt in doubts
        for span in doubt.spans
    )
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.start, mark.is_unsure, -mark.end)):
        if 0 <= mark.start < mark.end <= n_chars and (not kept or mark.start >= kept[-1].end):
            kept.append(mark)
    return tuple(kept)


def place(source: str, rendered: str, marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """`marks` of `source` as marks of `rendered`, in order; those that the rendering left out are left out here.

    Linear in the source; a mark that the walk lost is looked for by its words, after the one before it.
    """
    walk = _walk(source, rendered)
    flat = rendered.translate(_BREAKS)
    placed: list[Mark] = []
    cursor = 0
    for mark in marks:
        surface = " ".join(source[mark.start : mark.end].split())
        start = walk[mark.start]
        end = start + len(surface)
        if start < cursor or flat[start:end] != surface:
            start = flat.find(surface, cursor)
            end = start + len(surface)
        if start < 0:
            continue
        placed.append(replace(mark, start=start, end=end))
        cursor = end
    return tuple(placed)


def _walk(source: str, rendered: str) -> list[int]:
    """For each offset of `source`, the offset of `rendered` reached when it comes."""
    reached: list[int] = []
    at = 0
    for char in source:
        reached.append(at)
        if at < len(rendered):
            shown = rendered[at]
            if char == shown or (char.isspace() and shown.isspace()):
                at += 1
    reached.append(at)
    return reached

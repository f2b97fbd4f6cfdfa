"""Pure: which of the found names are sure enough for the graph, and which wait for a person's word."""

from collections.abc import Iterable, Sequence

from backend.domain import Doubt, FoundEntity, KnownName
from backend.graph.names import key_of


def sift(
    found: Iterable[FoundEntity], known: Sequence[KnownName], review_below: float
) -> tuple[tuple[FoundEntity, ...], tuple[Doubt, ...]]:
    """What is sure, and what is not; `found` has each name and type once, as `extract_nodes.join` leaves it.

    A place is sure from `review_below` on (0 to 1). An unsure place of a name counts as sure where the same name is
    surely found elsewhere in the entry as the same type, or the journal already knows it as that type: who was Anna
    ten times before is Anna in a muddled sentence too.
    """
    taken = {(name.key, name.type) for name in known}
    sure, unsure = [], []
    for entity in found:
        key = key_of(entity.name)
        if (key, entity.type) in taken or any(span.confidence >= review_below for span in entity.spans):
            sure.append(entity)
        else:
            unsure.append(Doubt(key, entity.name, entity.type, entity.spans))
    return tuple(sure), tuple(unsure)

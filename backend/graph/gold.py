"""Gold data in memory: a journal entry with everything marked that a reader should find."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from backend.domain import EntityType

# The writer, as an end of a relation.
ME: Final = "me"
# Of the tuning entries, those that the self-test reads: the first twelve of 60 to 400 words, whatever is added to the
# file later, so that two tests can be compared. No prompt is compiled on them.
SELF_TEST_IDS: Final = ("t01", "t02", "t03", "t04", "t05", "t06", "t07", "t08", "t09", "t10", "t11", "t13")


class RelationKind(StrEnum):
    """How two entities, or the writer and one, stand to each other."""

    PARENT_OF = "parent_of"
    SIBLING_OF = "sibling_of"
    PARTNER_OF = "partner_of"
    RELATIVE_OF = "relative_of"
    FRIEND_OF = "friend_of"
    COLLEAGUE_OF = "colleague_of"
    NEIGHBOUR_OF = "neighbour_of"
    WORKS_AT = "works_at"
    STUDIES_AT = "studies_at"
    MEMBER_OF = "member_of"
    LIVES_IN = "lives_in"
    LOCATED_IN = "located_in"
    TEACHES = "teaches"
    TREATS = "treats"
    TAKES_PART_IN = "takes_part_in"
    TAKES_PLACE_AT = "takes_place_at"

    @property
    def is_mutual(self) -> bool:
        """Whether it says the same with its ends exchanged."""
        return self in _MUTUAL


_MUTUAL: Final = frozenset(
    {
        RelationKind.SIBLING_OF,
        RelationKind.PARTNER_OF,
        RelationKind.RELATIVE_OF,
        RelationKind.FRIEND_OF,
        RelationKind.COLLEAGUE_OF,
        RelationKind.NEIGHBOUR_OF,
    }
)


@dataclass(frozen=True, slots=True)
class GoldMention:
    """A place in the text where an entity is named."""

    # Code points of the text exactly as written; end exclusive.
    start: int
    surface: str = field(repr=False)
    type: EntityType
    # Who or what it is, among all entries of the author.
    entity: str

    @property
    def end(self) -> int:
        """Where it ends, exclusive."""
        return self.start + len(self.surface)


@dataclass(frozen=True, slots=True)
class GoldRelation:
    """What the entry states of two of its identities; an end may be `ME`."""

    source: str
    kind: RelationKind
    target: str
    # Copied from the text.
    evidence: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GoldDate:
    """An expression of time and the days it means, both included."""

    surface: str = field(repr=False)
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class GoldEntry:
    """One entry and all that is to be found in it."""

    id: str
    author: str
    # Aware, in the writer's own UTC offset.
    written: datetime
    text: str = field(repr=False)
    # In the order of the text; none overlap.
    mentions: tuple[GoldMention, ...]
    relations: tuple[GoldRelation, ...]
    dates: tuple[GoldDate, ...]

"""Pure: which of the relations that a reader names are those that the entry states."""

from collections.abc import Sequence

from backend.graph.bootstrap import Counts
from backend.graph.gold import ME, GoldEntry, GoldRelation, RelationKind
from backend.graph.names import key_of
from backend.graph.trial import NamedRelation


def relation_counts(entry: GoldEntry, named: Sequence[NamedRelation], *, typed: bool, with_evidence: bool) -> Counts:
    """A relation is right when both ends are; with `typed` its kind too, with `with_evidence` its words too.

    An end is right when the reader's name for it is one by which the entry mentions that identity. Where the kind says
    the same both ways, and where kinds do not count, the ends may be exchanged. Evidence is right when it stands in
    the text and shares a character with the annotator's. Every relation of the entry is found once at most.
    """
    left = list(entry.relations)
    n_right = 0
    for one in named:
        fitting = next((gold for gold in left if _fits(one, gold, entry, typed, with_evidence)), None)
        if fitting is not None:
            left.remove(fitting)
            n_right += 1
    return n_right, len(named), n_right, len(entry.relations)


def _fits(one: NamedRelation, gold: GoldRelation, entry: GoldEntry, typed: bool, with_evidence: bool) -> bool:
    if typed and one.kind != gold.kind:
        return False
    ends = [(one.source, one.target)]
    if not typed or RelationKind(gold.kind).is_mutual:
        ends.append((one.target, one.source))
    has_ends = any(_is(source, gold.source, entry) and _is(target, gold.target, entry) for source, target in ends)
    return has_ends and (not with_evidence or _share_words(one.evidence, gold.evidence, entry.text))


def _is(name: str, identity: str, entry: GoldEntry) -> bool:
    if identity == ME or name == ME:
        return name == identity
    key = key_of(name)
    return any(one.entity == identity and key_of(one.surface) == key for one in entry.mentions)


def _share_words(evidence: str, gold: str, text: str) -> bool:
    """Whether two copies from the text overlap there, at the first place of each."""
    start, other = text.find(evidence), text.find(gold)
    return bool(evidence) and start >= 0 and start < other + len(gold) and other < start + len(evidence)

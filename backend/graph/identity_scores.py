"""Whether mentions of one person, place, group or activity come out as one entity: B-cubed (Bagga and Baldwin 1998)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

from backend.domain import KnownName
from backend.graph.bootstrap import Counts
from backend.graph.gold import GoldEntry
from backend.graph.matching import Marked, overlaps
from backend.graph.resolve import resolve
from backend.graph.trial import Trial

# Number of the entry, entity that it was found as, entity that it is; None where it was not found, or is none.
type Twin = tuple[int, str | None, str | None]


def twins(entries: Sequence[GoldEntry], trials: Sequence[Trial]) -> list[Twin]:
    """Every mention that was found or was to be found, with the entity on either side.

    Each author's entries are resolved one after another in the order in which they were written, by the application's
    own step, into a journal that knows nothing at first.
    """
    order = sorted(range(len(entries)), key=lambda number: (entries[number].author, entries[number].written))
    known: dict[str, list[KnownName]] = {}
    numbers = count()
    made: list[Twin] = []
    for number in order:
        author = entries[number].author
        names = known.setdefault(author, [])
        found = resolve(trials[number].found, names, lambda: str(next(numbers)))
        names.extend(KnownName(one.key, one.uuid, one.found.type) for one in found if one.is_new)
        places = sorted(
            (Marked(span.start, span.end, one.found.type), one.uuid) for one in found for span in one.found.spans
        )
        made.extend(_paired(number, entries[number], places))
    return made


def _paired(number: int, entry: GoldEntry, places: Sequence[tuple[Marked, str]]) -> Iterator[Twin]:
    gold = [Marked(one.start, one.end, one.type) for one in entry.mentions]
    entities = [f"{entry.author}/{one.entity}" for one in entry.mentions]
    pairs = list(overlaps([place for place, _ in places], gold))
    yield from ((number, places[found][1], entities[wanted]) for found, wanted in pairs)
    lone_found = set(range(len(places))) - {found for found, _ in pairs}
    yield from ((number, places[found][1], None) for found in sorted(lone_found))
    lone_gold = set(range(len(gold))) - {wanted for _, wanted in pairs}
    yield from ((number, None, entities[wanted]) for wanted in sorted(lone_gold))


def b_cubed(made: Sequence[Twin], n_entries: int) -> list[Counts]:
    """Counts of each entry: a mention is right by the share of its entity's mentions that belong with it."""
    together = Counter((found, gold) for _, found, gold in made)
    as_found = Counter(found for _, found, _ in made)
    as_gold = Counter(gold for _, _, gold in made)
    rows = [[0.0] * 4 for _ in range(n_entries)]
    for number, found, gold in made:
        row = rows[number]
        common = together[found, gold] if found is not None and gold is not None else 0
        if found is not None:
            row[0] += common / as_found[found]
            row[1] += 1
        if gold is not None:
            row[2] += common / as_gold[gold]
            row[3] += 1
    return [(row[0], row[1], row[2], row[3]) for row in rows]

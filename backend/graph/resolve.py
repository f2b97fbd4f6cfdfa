"""Pure: is what a reader found something the journal already knows?"""

from collections.abc import Callable, Iterable, Sequence

from backend.domain import EntityType, FoundEntity, KnownName, ResolvedEntity
from backend.graph.names import key_of


def resolve(
    found: Iterable[FoundEntity], known: Sequence[KnownName], new_uuid: Callable[[], str]
) -> tuple[ResolvedEntity, ...]:
    """Each found entity with the uuid it has or gets.

    The same name and type is the same entity; of several, the one known longest (the order of `known`).
    A name of another type is another entity: Florence in Tuscany is not the neighbour.
    """
    taken: dict[tuple[str, EntityType], str] = {}
    for name in known:
        taken.setdefault((name.key, name.type), name.entity_uuid)
    resolved = []
    for entity in found:
        key = key_of(entity.name)
        known_uuid = taken.get((key, entity.type))
        uuid = taken[key, entity.type] = known_uuid or new_uuid()
        resolved.append(ResolvedEntity(uuid, known_uuid is None, key, entity))
    return tuple(resolved)

"""The parts of the database over one client, as the services share them."""

from collections.abc import Collection, Sequence

import redis

from backend.database.entities import Entities
from backend.database.episodes import Episodes
from backend.database.mentions import Mentions
from backend.database.redis_ops import Ledger
from backend.database.review import Review
from backend.database.schema import Schema
from backend.domain import Corrections, Doubt, KnownName, Provenance, ResolvedEntity


class Stores:
    """Ledger, entries, entities and mentions; it is also the store that reading an entry asks for. Thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self.schema = Schema(client)
        self.ledger = Ledger(client)
        self.episodes = Episodes(client, self.ledger)
        self.mentions = Mentions(client)
        self.review = Review(client)
        self.entities = Entities(client)

    def known(self, journal: str, name_keys: Collection[str]) -> Sequence[KnownName]:
        """See `Entities.known`."""
        return self.entities.known(journal, name_keys)

    def corrections(self, uuid: str, journal: str) -> Corrections:
        """See `Mentions.corrections`."""
        return self.mentions.corrections(uuid, journal)

    def write_reading(
        self,
        uuid: str,
        journal: str,
        revision: int,
        entities: Sequence[ResolvedEntity],
        provenance: Provenance,
        *,
        is_draft: bool,
        unsure: Sequence[Doubt] = (),
    ) -> bool:
        """See `Mentions.write_reading`."""
        return self.mentions.write_reading(
            uuid, journal, revision, entities, provenance, is_draft=is_draft, unsure=unsure
        )

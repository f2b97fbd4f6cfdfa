"""Every Redis key Charlie uses, made here and nowhere else.

| key                      | type       | owner        | holds                                                    |
|--------------------------|------------|--------------|----------------------------------------------------------|
| graph:{journal}          | graph      | schema       | one journal: entries, entities, mentions, changes        |
| episode:{uuid}           | hash       | redis_ops    | the ledger: what waits to be read, or was given up       |
| ledger:{status}          | sorted set | redis_ops    | uuids with that status, by due time (Unix seconds)       |
| worker                   | string     | services     | JSON: what the worker does now, for other processes      |
| schema:{journal}         | string     | schema       | number of the last migration applied                     |
| huey.*charlie*           | various    | huey         | wake-up messages and results                             |
| undo:{journal}           | list       | episodes     | the last 100 changes as JSON, newest first               |
| events                   | channel    | services     | pub/sub: what changed (nothing is stored)                |
"""

from backend.domain import EpisodeStatus

GRAPH_PREFIX = "graph:"
EPISODE_PREFIX = "episode:"
WORKER = "worker"
EVENTS_CHANNEL = "events"
QUEUE_NAME = "charlie"


def graph(journal: str) -> str:
    """The graph of a journal."""
    return GRAPH_PREFIX + journal


def episode(uuid: str) -> str:
    """The ledger entry of an episode."""
    return EPISODE_PREFIX + uuid


def ledger(status: EpisodeStatus) -> str:
    """The index of the ledger entries with a status."""
    return f"ledger:{status.value}"


def schema(journal: str) -> str:
    """The number of the last migration a journal's graph has."""
    return f"schema:{journal}"


def undo(journal: str) -> str:
    """What the last changes to a journal were, so that they can be taken back."""
    return f"undo:{journal}"

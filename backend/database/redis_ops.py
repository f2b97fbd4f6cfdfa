"""The work ledger: which entries wait to be read, and which were given up.

`episode:{uuid}` is a hash (see `Ledger.put`); `ledger:{status}` are sorted sets of uuids by due time. Both
change in one transaction, so that no reader ever sees one without the other. An entry that has been read has
no key: what is here is the backlog, not the history.

The module's functions act on the process-wide default server and keep the string and dict types that scripts rely on.
"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from backend.database import keys
from backend.database.connection import default_client, translated
from backend.domain import EpisodeStatus, LedgerEntry
from backend.settings import DEFAULT_JOURNAL

STORED = (EpisodeStatus.PENDING_NODES, EpisodeStatus.PENDING_EDGES, EpisodeStatus.DEAD)
PENDING = (EpisodeStatus.PENDING_NODES, EpisodeStatus.PENDING_EDGES)

type Fields = Mapping[str, str | int | float]

# Written just now by a person, and everything else.
PRIORITY_WRITTEN = 10
PRIORITY_IMPORTED = 0

# KEYS: episode, ledger sets…; ARGV: revision, uuid. Leaves the ledger only when nothing was saved meanwhile.
_FINISH = """
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
for i = 2, #KEYS do redis.call('ZREM', KEYS[i], ARGV[2]) end
return 1
"""
# KEYS: episode; ARGV: field, value, … Changes fields of an entry that is still in the ledger.
_UPDATE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""
# KEYS: episode, set to be in, other sets…; ARGV: uuid, due, field, value, … Moves between states.
_MOVE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 3, #KEYS do redis.call('ZREM', KEYS[i], ARGV[1]) end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
local fields = {}
for i = 3, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', KEYS[1], unpack(fields))
return 1
"""


class Ledger:
    """The ledger over one Redis client; thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._finish = client.register_script(_FINISH)
        self._update = client.register_script(_UPDATE)
        self._move = client.register_script(_MOVE)

    def put(self, pipeline: Any, uuid: str, journal: str, *, revision: int, priority: int = PRIORITY_WRITTEN) -> None:
        """Add to a transaction: this revision waits to be read, with a clean slate."""
        key = keys.episode(uuid)
        pipeline.delete(key)
        pipeline.hset(
            key,
            mapping={
                "status": EpisodeStatus.PENDING_NODES.value,
                "journal": journal,
                "created_at": repr(time.time()),
                "revision": revision,
                "priority": priority,
            },
        )
        for status in STORED:
            pipeline.zrem(keys.ledger(status), uuid)
        pipeline.zadd(keys.ledger(EpisodeStatus.PENDING_NODES), {uuid: 0})

    def drop(self, pipeline: Any, uuid: str) -> None:
        """Add to a transaction: forget this entry."""
        pipeline.delete(keys.episode(uuid))
        for status in STORED:
            pipeline.zrem(keys.ledger(status), uuid)

    def remove(self, uuid: str) -> None:
        """Forget this entry, whatever its revision."""
        with translated(), self._client.pipeline() as pipeline:
            self.drop(pipeline, uuid)
            pipeline.execute()

    def get(self, uuid: str) -> LedgerEntry | None:
        """What is known of an entry that waits or was given up; None when it is not in the ledger."""
        with translated():
            raw = self._client.hgetall(keys.episode(uuid))
        return _entry(uuid, raw) if raw else None  # type: ignore[arg-type]  # decoded, not awaitable

    def statuses(self, uuids: list[str]) -> list[EpisodeStatus]:
        """The status of each, DONE for those that have left; one round trip."""
        if not uuids:
            return []
        with translated(), self._client.pipeline(transaction=False) as pipeline:
            for status in STORED:
                pipeline.zmscore(keys.ledger(status), uuids)
            places = zip(*pipeline.execute(), strict=True)
        # An entry is in one set at most; that of the first score is its status.
        return [
            next(
                (status for status, score in zip(STORED, scores, strict=True) if score is not None), EpisodeStatus.DONE
            )
            for scores in places
        ]

    def finish(self, uuid: str, revision: int) -> bool:
        """Leave the ledger, read; False (and it stays) when a newer revision was saved meanwhile."""
        with translated():
            return bool(self._finish(keys=[keys.episode(uuid), *_indexes()], args=[revision, uuid]))

    def update(self, uuid: str, fields: Fields) -> bool:
        """Change fields of an entry that is still there; False when it is not."""
        flat = [part for name, value in fields.items() for part in (name, value)]
        with translated():
            return bool(self._update(keys=[keys.episode(uuid)], args=flat))

    def move(self, uuid: str, status: EpisodeStatus, *, due_at_s: float = 0, fields: Fields | None = None) -> bool:
        """Give an entry another status and due time (Unix seconds); False when it is not in the ledger."""
        first = keys.ledger(status)
        others = [index for index in _indexes() if index != first]
        flat = [part for name, value in (fields or {}).items() for part in (name, value)]
        args = [uuid, due_at_s, "status", status.value, "due_at", due_at_s, *flat]
        with translated():
            return bool(self._move(keys=[keys.episode(uuid), first, *others], args=args))

    def count(self, *statuses: EpisodeStatus, due_by_s: float | None = None) -> int:
        """How many have one of these statuses; with `due_by_s`, those due by then (Unix seconds)."""
        limit = "+inf" if due_by_s is None else due_by_s
        with translated(), self._client.pipeline() as pipeline:
            for status in statuses:
                pipeline.zcount(keys.ledger(status), "-inf", limit)
            return sum(pipeline.execute())

    def uuids(self, *statuses: EpisodeStatus) -> list[str]:
        """Those with one of these statuses, the longest due first."""
        with translated(), self._client.pipeline(transaction=False) as pipeline:
            for status in statuses:
                pipeline.zrange(keys.ledger(status), 0, -1)
            return [uuid for found in pipeline.execute() for uuid in found]

    def entries(self, *statuses: EpisodeStatus) -> Iterator[LedgerEntry]:
        """All that is known of those with one of these statuses; the order of `uuids`."""
        with translated(), self._client.pipeline(transaction=False) as pipeline:
            waiting = self.uuids(*statuses)
            for uuid in waiting:
                pipeline.hgetall(keys.episode(uuid))
            found = pipeline.execute() if waiting else []
        return (_entry(uuid, raw) for uuid, raw in zip(waiting, found, strict=True) if raw)

    def mend(self) -> int:
        """Index entries that lack a place in the sorted sets and drop places without an entry; how many were mended.

        Costs the backlog. A script that writes `episode:*` by hand is made visible by this at the next start.
        """
        with translated():
            listed = {status: set(self.uuids(status)) for status in STORED}
            n_mended = 0
            seen: set[str] = set()
            for key in self._client.scan_iter(match=keys.EPISODE_PREFIX + "*", count=1000):
                uuid = str(key).removeprefix(keys.EPISODE_PREFIX)
                seen.add(uuid)
                status = self._client.hget(key, "status")
                right = {known for known in STORED if uuid in listed[known]}
                if status in set(STORED) and right != {EpisodeStatus(str(status))}:
                    self.move(uuid, EpisodeStatus(str(status)))
                    n_mended += 1
            for uuid in set().union(*listed.values()) - seen:
                self.remove(uuid)
                n_mended += 1
        return n_mended


def _indexes() -> list[str]:
    return [keys.ledger(status) for status in STORED]


def _entry(uuid: str, raw: Mapping[str, str]) -> LedgerEntry:
    return LedgerEntry(
        uuid=uuid,
        journal=raw.get("journal", DEFAULT_JOURNAL),
        status=EpisodeStatus(raw["status"]),
        revision=int(raw.get("revision", 0)),
        priority=int(raw.get("priority", PRIORITY_WRITTEN)),
        attempts=int(raw.get("attempts", 0)),
        crashes=int(raw.get("crashes", 0)),
        kills=int(raw.get("kills", 0)),
        due_at_s=float(raw.get("due_at", 0)),
        reason=raw.get("reason", ""),
        drafted_revision=int(raw.get("drafted_revision", 0)),
        created_at_s=float(raw.get("created_at", 0)),
    )


def set_episode_status(
    episode_uuid: str, status: str, journal: str | None = None, uuid_map: dict[str, str] | None = None
) -> None:
    """Record where an entry stands; atomic. The first call for an entry needs its journal.

    Raises:
        ValueError: no such status, or a first status without a journal.
    """
    known = EpisodeStatus(status)
    if known not in STORED:
        raise ValueError(f"{status!r} is not a stored status: use remove_episode_from_queue for a finished entry")
    client = default_client()
    fields: dict[str, str] = {}
    if journal is not None:
        fields["journal"] = journal
    if uuid_map is not None:
        fields["uuid_map"] = json.dumps(uuid_map)
    ledger = Ledger(client)
    if ledger.move(episode_uuid, known, fields=fields):
        return
    if journal is None:
        raise ValueError("the first status of an entry needs its journal")
    with translated(), client.pipeline() as pipeline:
        # HSETNX: two first calls at once keep the earlier time.
        pipeline.hsetnx(keys.episode(episode_uuid), "created_at", repr(time.time()))
        for name, value in ({"status": known.value, "due_at": "0"} | fields).items():
            pipeline.hset(keys.episode(episode_uuid), name, value)
        for other in STORED:
            pipeline.zrem(keys.ledger(other), episode_uuid)
        pipeline.zadd(keys.ledger(known), {episode_uuid: 0})
        pipeline.execute()


def get_episode_status(episode_uuid: str) -> str | None:
    """The status of an entry; None once it has been read, or was never there."""
    return get_episode_data(episode_uuid).get("status")


def get_episode_data(episode_uuid: str) -> dict[str, str]:
    """Everything the ledger has on an entry, as stored (`uuid_map` is JSON); empty when it has nothing."""
    with translated():
        raw: dict[str, str] = default_client().hgetall(keys.episode(episode_uuid))  # type: ignore[assignment]
    return raw


def get_episode_uuid_map(episode_uuid: str) -> dict[str, str] | None:
    """What provisional uuids became when entities were resolved; None when there is nothing."""
    raw = get_episode_data(episode_uuid).get("uuid_map")
    return json.loads(raw) if raw else None


def get_episodes_by_status(status: str) -> list[str]:
    """The uuids with this status, the longest due first; costs the backlog."""
    known = EpisodeStatus(status)
    return Ledger(default_client()).uuids(known) if known in STORED else []


def remove_episode_from_queue(episode_uuid: str) -> None:
    """Forget an entry: it has been read, or is gone. Idempotent."""
    Ledger(default_client()).remove(episode_uuid)

"""The queue of messages that wake a worker: the Huey instance, and `WorkQueue`, which sends and counts messages.

A message is a wake-up and no more: it carries a uuid, never a text, and the ledger is the truth. A lost, doubled
or late message does no harm.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import uuid4

from backend.database import keys
from backend.database.connection import EmbeddedConnection, translated
from backend.errors import StorageError
from backend.settings import load_settings

# The tasks of `services.tasks` by the names that Huey registers them under. A message names its task, so that the
# sender need not import what the task runs.
READ_TASK: Final = "backend.services.tasks.extract_nodes_task"
DRAFT_TASK: Final = "backend.services.tasks.draft_nodes_task"
WAKE_TASK: Final = "backend.services.tasks.wake_task"

# Drafts take milliseconds and go before everything; waking a worker so that it can stop, before that.
PRIORITY_DRAFT: Final = 100
PRIORITY_WAKE: Final = 1000
# Results are dicts of ids and counts; nobody asks for them after an hour.
_RESULT_TTL_S: Final = 3600

_log = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    """`huey`, made when it is first asked for: importing Huey costs 60 ms that no screen needs."""
    if name == "huey":
        return _huey()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class WorkQueue:
    """Sends and looks through the messages that have entries worked on; thread-safe.

    In immediate mode nothing is sent and nothing waits.
    """

    def send(self, uuid: str, journal: str, priority: int, delay_s: float = 0.0, *, with_draft: bool = False) -> None:
        """Ask the worker, wherever it runs, to read an entry.

        Never raises for the database: the ledger knows that the entry waits, and the worker looks through it.
        """
        if _huey().immediate:
            return
        try:
            if with_draft:
                _send(DRAFT_TASK, (uuid, journal), PRIORITY_DRAFT)
            _send(READ_TASK, (uuid, journal), priority, delay_s)
        except StorageError as error:
            _log.warning("no message was sent for %s: %s", uuid, error)

    def wake_worker(self) -> None:
        """Have a worker that waits for messages look whether it is to stop. Raises StorageError."""
        _send(WAKE_TASK, (), PRIORITY_WAKE)

    def awaited(self) -> set[str]:
        """The uuids for which a message to read them is queued or scheduled. Raises StorageError."""
        storage = _huey().storage
        with translated():
            return set(_uuids([*storage.enqueued_items(), *storage.scheduled_items()]))

    def next_up(self, n_most: int) -> list[str]:
        """The uuids of the next messages to read entries, in their order. Raises StorageError."""
        if _huey().immediate:
            return []
        with translated():
            # Twice as many: a message for a draft may still stand before each.
            return _uuids(_huey().storage.enqueued_items(2 * n_most))[:n_most]

    def disconnect(self) -> None:
        """Close the connections of this process, where any were opened. Idempotent."""
        if _huey.cache_info().currsize and not _huey().immediate:
            _huey().storage.pool.disconnect()


@cache
def _huey() -> Any:
    from huey import PriorityRedisExpireHuey  # 60 ms

    return PriorityRedisExpireHuey(
        keys.QUEUE_NAME,
        connection_class=EmbeddedConnection,
        expire_time=_RESULT_TTL_S,
        notify_result=True,
        # A test's or script's CHARLIE_IMMEDIATE holds before any Runtime is bound.
        immediate=load_settings().immediate,
    )


def _send(task: str, arguments: tuple[str, ...], priority: int, delay_s: float = 0.0) -> None:
    from huey.registry import Message  # with Huey itself, as above

    huey = _huey()
    message = Message(
        id=str(uuid4()), name=task, retries=0, retry_delay=0, priority=priority, args=arguments, kwargs={}
    )
    with translated():
        if delay_s > 0:
            # Huey's schedule is kept in UTC without a zone.
            due = (datetime.now(UTC) + timedelta(seconds=delay_s)).replace(tzinfo=None)
            huey.storage.add_to_schedule(huey.serializer.serialize(message._replace(eta=due)), due)
        else:
            huey.storage.enqueue(huey.serializer.serialize(message), priority)


def _uuids(messages: Sequence[bytes]) -> list[str]:
    found = map(_huey().serializer.deserialize, messages)
    return [message.args[0] for message in found if message.name == READ_TASK]

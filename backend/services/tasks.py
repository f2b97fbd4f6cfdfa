"""Thin shells: a Huey message becomes a call of the bound Runtime. The ledger decides whether there is anything to do.

`huey_consumer backend.services.tasks.huey -k thread -w 1 -v` runs the same worker from another terminal.
"""

import logging
from collections.abc import Sequence
from typing import Any

from backend.database.connection import translated
from backend.errors import StorageError
from backend.services.queue import huey as huey  # `huey_consumer` is given `backend.services.tasks.huey`
from backend.services.runtime import bound, current

# Drafts take milliseconds and go before everything; waking a worker so that it can stop, before that.
_PRIORITY_DRAFT = 100
_PRIORITY_WAKE = 1000

_log = logging.getLogger(__name__)


@huey.task()  # type: ignore[untyped-decorator]  # huey ships no types
def extract_nodes_task(episode_uuid: str, journal: str) -> dict[str, object]:
    """Read an entry if it still waits; see `ReadingService.read` for what comes back."""
    runtime = current()
    # Here too, not only now and then: nothing is read by settings that have been taken back.
    runtime.follow_settings()
    return runtime.work.reading.read(episode_uuid, journal)


@huey.task(priority=_PRIORITY_DRAFT)  # type: ignore[untyped-decorator]  # huey ships no types
def draft_nodes_task(episode_uuid: str, journal: str) -> dict[str, object]:
    """Show the tagger's reading of an entry until the instruct model's replaces it."""
    return current().work.reading.draft(episode_uuid, journal)


@huey.task(priority=_PRIORITY_WAKE)  # type: ignore[untyped-decorator]  # huey ships no types
def wake_task() -> None:
    """Nothing: a worker that waits for messages sees that it is to stop."""


@huey.on_startup()  # type: ignore[untyped-decorator]  # huey ships no types
def begin() -> None:
    """Wait until no other worker runs, then put right what a dead one left."""
    current().work.begin()


@huey.on_shutdown()  # type: ignore[untyped-decorator]  # huey ships no types
def end() -> None:
    """Unload the models and let the next worker in."""
    # A worker that outlives its Runtime must not begin another one, and with it another server.
    if (runtime := bound()) is not None:
        runtime.work.end()


def send(uuid: str, journal: str, priority: int, delay_s: float = 0.0, *, with_draft: bool = False) -> None:
    """Ask the worker, wherever it runs, to read an entry; in immediate mode nothing is sent.

    Never raises for the database: the ledger knows that the entry waits, and the worker looks through it.
    """
    if huey.immediate:
        return
    try:
        with translated():
            if with_draft:
                draft_nodes_task(uuid, journal)
            if delay_s > 0:
                extract_nodes_task.schedule(args=(uuid, journal), delay=delay_s, priority=priority)
            else:
                extract_nodes_task(uuid, journal, priority=priority)
    except StorageError as error:
        _log.warning("no message was sent for %s: %s", uuid, error)


def awaited() -> set[str]:
    """The uuids for which a message to read them is queued or scheduled. Raises StorageError."""
    with translated():
        return set(_uuids([*huey.pending(), *huey.scheduled()]))


def next_up(n_most: int) -> list[str]:
    """The uuids of the next messages to read entries, in their order; none in immediate mode. Raises StorageError."""
    if huey.immediate:
        return []
    with translated():
        # Twice as many: a message for a draft may still stand before each.
        return _uuids(huey.pending(2 * n_most))[:n_most]


def _uuids(messages: Sequence[Any]) -> list[str]:
    name = extract_nodes_task.task_class.__name__
    return [message.args[0] for message in messages if message.name == name]

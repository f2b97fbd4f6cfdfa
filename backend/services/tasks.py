"""Thin shells: a Huey message becomes a call of the bound Runtime. The ledger decides whether there is anything to do.

`huey_consumer backend.services.tasks.huey -k thread -w 1 -v` runs the same worker from another terminal.
"""

from backend.services.current import bound, current
from backend.services.queue import huey as huey  # `huey_consumer` is given `backend.services.tasks.huey`


@huey.task()  # type: ignore[untyped-decorator]  # huey ships no types
def extract_nodes_task(episode_uuid: str, journal: str) -> dict[str, object]:
    """Read an entry if it still waits; see `ReadingService.read` for what comes back."""
    return current().session.reading.read(episode_uuid, journal)


@huey.task()  # type: ignore[untyped-decorator]  # huey ships no types
def draft_nodes_task(episode_uuid: str, journal: str) -> dict[str, object]:
    """Show the tagger's reading of an entry until the instruct model's replaces it."""
    return current().session.reading.draft(episode_uuid, journal)


@huey.task()  # type: ignore[untyped-decorator]  # huey ships no types
def wake_task() -> None:
    """Nothing: a worker that waits for messages sees that it is to stop."""


@huey.on_startup()  # type: ignore[untyped-decorator]  # huey ships no types
def begin() -> None:
    """Wait until no other worker runs, then put right what a dead one left."""
    current().session.begin()


@huey.on_shutdown()  # type: ignore[untyped-decorator]  # huey ships no types
def end() -> None:
    """Unload the models and let the next worker in."""
    # A worker that outlives its Runtime must not begin another one, and with it another server.
    if (runtime := bound()) is not None:
        runtime.session.end()

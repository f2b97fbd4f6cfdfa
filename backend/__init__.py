"""The public face of Charlie's backend."""

from datetime import datetime


async def add_journal_entry(
    text: str,
    *,
    reference_time: datetime | None = None,
    journal: str | None = None,
    title: str = "",
    source: str = "script",
    uuid: str | None = None,
) -> str:
    """Save an entry and have it read; its uuid. It is on disk when this returns.

    `reference_time` is when it happened (now when left out; a naive time is the writer's local one).

    Raises:
        EntryInvalid: blank, too long, a null byte, a journal name or uuid that cannot be used.
        StorageError: nothing was written.
    """
    import asyncio  # with the runtime below 0.3 s: what only wants `backend.settings` need not pay it

    from backend.services.current import current

    return await asyncio.to_thread(
        current().journal.add, text, journal=journal, title=title, valid_at=reference_time, source=source, uuid=uuid
    )

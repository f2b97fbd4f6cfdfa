"""Commands that look: list, show, entities, entity."""

from collections.abc import Callable
from typing import Annotated

import typer

from backend.domain import Connection, EntityType, Episode, EpisodeStatus, EpisodeSummary, Page, PageCursor
from backend.services.journal import JournalService
from backend.text import check_journal, title_of
from frontend.cli import options
from frontend.cli.output import (
    Json,
    connection_json,
    entity_json,
    print_json,
    print_table,
    print_text,
    short,
    summary_json,
    when,
)
from frontend.cli.session import opened

_PAGE = 200


def list_entries(limit: options.Limit = 50, journal: options.Journal = None, as_json: options.AsJson = False) -> None:
    """List the entries, newest first."""
    if journal is not None:
        check_journal(journal)
    with opened() as runtime:
        service = runtime.journal
        found = _up_to(limit, lambda before, n: service.page(journal, before=before, limit=n))
    if as_json:
        print_json([summary_json(summary) for summary in found])
    else:
        _print_entries(found)


def show(uuid: options.Uuid, as_json: options.AsJson = False) -> None:
    """Show an entry and who and what is in it."""
    with opened() as runtime:
        episode = runtime.journal.get(runtime.journal.resolve_uuid(uuid))
        status, reason = _standing(runtime.journal, episode.uuid)
        connections = runtime.journal.connections(episode.uuid)
    title = title_of(episode.text, episode.title, day=episode.local_day)
    if as_json:
        print_json(_episode_json(episode, title, status, reason, connections))
        return
    print_text(f"{title}\n{when(episode.valid_at)}  {episode.journal}  {_in_words(status, reason)}\n")
    print_text(episode.text)
    if connections:
        print_text("")
        print_table(
            ("type", "name", "mentions"),
            [(c.entity.type.value, c.entity.name, str(len(c.mentions))) for c in connections],
        )


def entities(
    type_: Annotated[EntityType | None, typer.Option("--type", case_sensitive=False, help="One kind only.")] = None,
    limit: options.Limit = 200,
    journal: options.Journal = None,
    as_json: options.AsJson = False,
) -> None:
    """List whom and what the entries mention.

    The most mentioned come first.
    """
    if journal is not None:
        check_journal(journal)
    with opened() as runtime:
        found = runtime.journal.entities(journal, type=type_, limit=limit)
    if as_json:
        print_json([entity_json(entity) for entity in found])
        return
    print_table(
        ("type", "entries", "last", "name"),
        [(e.type.value, str(e.n_episodes), e.last_at.strftime("%Y-%m-%d") if e.last_at else "", e.name) for e in found],
    )


def entity(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name, or its uuid.")],
    limit: options.Limit = 50,
    journal: options.Journal = None,
    as_json: options.AsJson = False,
) -> None:
    """Show one of them and its entries, newest first."""
    if journal is not None:
        check_journal(journal)
    with opened() as runtime:
        service = runtime.journal
        found = service.entity(name, journal)
        entries = _up_to(limit, lambda before, n: service.episodes_of(found.uuid, journal, before=before, limit=n))
    if as_json:
        print_json({**entity_json(found), "entries": [summary_json(summary) for summary in entries]})
        return
    print_text(f"{found.name}  {found.type.value}  {found.n_episodes} entries, {found.n_mentions} mentions\n")
    _print_entries(entries)


def _up_to(limit: int, page_of: Callable[[PageCursor | None, int], Page]) -> list[EpisodeSummary]:
    found: list[EpisodeSummary] = []
    before: PageCursor | None = None
    while len(found) < limit:
        page = page_of(before, min(_PAGE, limit - len(found)))
        found.extend(page.episodes)
        before = page.next
        if before is None:
            break
    return found


def _print_entries(found: list[EpisodeSummary]) -> None:
    print_table(
        ("uuid", "when", "status", "title"),
        [(short(entry.uuid), when(entry.valid_at), entry.status.value, entry.title) for entry in found],
    )


def _standing(service: JournalService, uuid: str) -> tuple[EpisodeStatus, str]:
    ledger_entry = service.ledger_entry(uuid)
    return service.status_of(uuid), ledger_entry.reason if ledger_entry else ""


def _in_words(status: EpisodeStatus, reason: str) -> str:
    words = {EpisodeStatus.DONE: "read", EpisodeStatus.DEAD: "given up"}.get(status, "waits to be read")
    return f"{words}: {reason}" if reason else words


def _episode_json(
    episode: Episode, title: str, status: EpisodeStatus, reason: str, connections: tuple[Connection, ...]
) -> dict[str, Json]:
    return {
        "uuid": episode.uuid,
        "journal": episode.journal,
        "title": title,
        "text": episode.text,
        "valid_at": episode.valid_at.isoformat(),
        "created_at": episode.created_at.isoformat(),
        "revision": episode.revision,
        "source": episode.source,
        "status": status.value,
        "reason": reason,
        "entities": [connection_json(connection) for connection in connections],
        "relations": [],
    }

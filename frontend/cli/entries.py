"""Commands that change entries: add, edit, delete, undo, retry, reject."""

from contextlib import nullcontext
from typing import Annotated

import typer

from backend.text import check_journal, check_text
from frontend.cli import options
from frontend.cli.moments import parse_moment
from frontend.cli.output import CommandFailed, print_json, print_text
from frontend.cli.session import opened, settings, undo_command
from frontend.cli.writing import comes_from_stdin, editor_text, read_stdin

_UNDONE = {
    "add": "the new entry is gone again",
    "edit": "the entry is as it was before the edit",
    "delete": "the entry is back",
    "reject": "the name counts again",
    "accept": "the name waits for your word again",
    "dismiss": "the name waits for your word again",
}


def add(
    text: options.EntryText = None,
    journal: options.Journal = None,
    date: options.Date = None,
    title: options.Title = None,
    as_json: options.AsJson = False,
) -> None:
    """Save an entry and print its uuid."""
    valid_at = parse_moment(date) if date is not None else None
    if journal is not None:
        check_journal(journal)
    with _given(text) or editor_text(settings()) as written:
        check_text(written)
        with opened() as runtime:
            uuid = runtime.journal.add(written, journal=journal, title=title or "", valid_at=valid_at, source="command")
            saved_in = journal or runtime.settings.journal
    if as_json:
        print_json({"uuid": uuid, "journal": saved_in})
    else:
        print_text(uuid)


def edit(
    uuid: options.Uuid,
    text: options.EntryText = None,
    date: options.Date = None,
    title: options.Title = None,
    as_json: options.AsJson = False,
) -> None:
    """Change an entry's text, title or date.

    With options alone the text stays; with neither it opens your editor.
    """
    valid_at = parse_moment(date) if date is not None else None
    is_text_kept = text is None and (date is not None or title is not None)
    given = None if is_text_kept else _given(text)
    with opened() as runtime:
        episode = runtime.journal.get(runtime.journal.resolve_uuid(uuid))
        source = nullcontext(episode.text) if is_text_kept else given or editor_text(runtime.settings, episode.text)
        with source as written:
            episode = runtime.journal.edit(episode.uuid, written, title=title, valid_at=valid_at)
    if as_json:
        print_json({"uuid": episode.uuid, "revision": episode.revision})
    else:
        print_text(episode.uuid)


def delete(uuid: options.Uuid, as_json: options.AsJson = False) -> None:
    """Remove an entry; 'charlie undo' brings it back."""
    with opened() as runtime:
        full = runtime.journal.resolve_uuid(uuid)
        undo = undo_command(runtime, full)
        runtime.journal.delete(full)
    if as_json:
        print_json({"uuid": full})
    else:
        print_text(f"deleted {full} ({undo} brings it back)")


def undo(journal: options.Journal = None, as_json: options.AsJson = False) -> None:
    """Take the last change back.

    That is an add, an edit, a delete, a reject, or a word on what was not sure.
    """
    with opened() as runtime:
        undone = runtime.journal.undo(journal)
    if undone is None:
        raise CommandFailed("there is nothing to undo")
    if as_json:
        print_json({"kind": undone.kind, "uuid": undone.uuid})
    else:
        print_text(f"{undone.uuid}: {_UNDONE.get(undone.kind, undone.kind)}")


def retry(
    uuid: Annotated[
        str | None, typer.Argument(metavar="[UUID]", help="One entry; else all that were given up.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Have read again what was given up.

    'charlie status' says how many entries those are.
    """
    with opened() as runtime:
        count = runtime.journal.retry(runtime.journal.resolve_uuid(uuid) if uuid else None)
    if as_json:
        print_json({"retried": count})
    else:
        print_text(f"{count} {'entry waits' if count == 1 else 'entries wait'} to be read again")


def reject(
    uuid: options.Uuid,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name as 'charlie show' lists it, or its uuid.")],
    as_json: options.AsJson = False,
) -> None:
    """Say that a name in an entry is none.

    No reader overrules it; 'charlie undo' takes it back.
    """
    with opened() as runtime:
        full = runtime.journal.resolve_uuid(uuid)
        entities = [connection.entity for connection in runtime.journal.connections(full)]
        wanted = [entity for entity in entities if name == entity.uuid or name.casefold() == entity.name.casefold()]
        if not wanted:
            raise CommandFailed(f"that entry has nothing by this name: 'charlie show {full}' lists what it has")
        if len(wanted) > 1:
            choices = ", ".join(f"{entity.uuid} ({entity.type.value})" for entity in wanted)
            raise CommandFailed(f"that entry has {len(wanted)} things by this name, give a uuid: {choices}")
        runtime.journal.reject(full, wanted[0].uuid)
        undo = undo_command(runtime, full)
    if as_json:
        print_json({"uuid": full, "entity": wanted[0].uuid})
    else:
        print_text(f"rejected in {full} ({undo} takes it back)")


def _given(text: str | None) -> nullcontext[str] | None:
    """The text from the arguments or standard input; None when an editor is wanted."""
    if comes_from_stdin(text):
        return nullcontext(read_stdin())
    return None if text is None else nullcontext(text)

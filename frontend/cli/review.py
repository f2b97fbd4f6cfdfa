"""Commands about what readers were not sure of: list it, accept, dismiss."""

from typing import Annotated

import typer

from backend.domain import Doubt, EntityType, WaitingDoubt
from backend.services.runtime import Runtime
from backend.text import check_journal
from frontend.cli import options
from frontend.cli.output import CommandFailed, Json, print_json, print_table, print_text, short
from frontend.cli.session import opened, undo_command
from frontend.state.entry import quotation

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
)
Journal = Annotated[str | None, typer.Option("--journal", "-j", metavar="J", help="Of this one; else of all.")]
Surface = Annotated[str, typer.Argument(metavar="SURFACE", help="The words as 'charlie review' lists them.")]
Type = Annotated[
    EntityType | None,
    typer.Option("--type", case_sensitive=False, help="Which one, where the same words wait as several."),
]


@app.callback(epilog="Example: charlie review --limit 10 --json")
def review(
    context: typer.Context, limit: options.Limit = 50, journal: Journal = None, as_json: options.AsJson = False
) -> None:
    """List the names that readers were not sure of, or say whether one is right.

    They are in no list of people and places until you accept them; those of the newest entries come first. The
    setting review_below says how sure is sure enough.
    """
    if context.invoked_subcommand is not None:
        return
    if journal is not None:
        check_journal(journal)
    with opened() as runtime:
        found = runtime.review.waiting(journal, limit=limit)
    if as_json:
        print_json([_json(line) for line in found])
        return
    print_table(
        ("uuid", "day", "sure", "type", "surface", "line"),
        [
            (
                short(line.episode_uuid),
                line.valid_at.strftime("%Y-%m-%d"),
                f"{line.doubt.confidence:.0%}",
                line.doubt.type.value,
                line.doubt.spans[0].surface,
                _quoted(line),
            )
            for line in found
        ],
    )


@app.command(epilog="Example: charlie review accept 0198c5 Juno")
def accept(uuid: options.Uuid, surface: Surface, type_: Type = None, as_json: options.AsJson = False) -> None:
    """Say that it is right: wherever it stands in the entry it counts as a mention from now on.

    No reader overrules it; 'charlie undo' takes it back.
    """
    with opened() as runtime:
        full, doubt = _chosen(runtime, uuid, surface, type_)
        entity_uuid, undo = runtime.review.accept(full, doubt), undo_command(runtime, full)
    if as_json:
        print_json({"uuid": full, "entity": entity_uuid, "name": doubt.name, "type": doubt.type.value})
    else:
        print_text(f"accepted {doubt.name} in {full} ({undo} takes it back)")


@app.command(epilog="Example: charlie review dismiss 0198c5 May")
def dismiss(uuid: options.Uuid, surface: Surface, type_: Type = None, as_json: options.AsJson = False) -> None:
    """Say that it is nothing here.

    No reading of the entry brings it back; 'charlie undo' does.
    """
    with opened() as runtime:
        full, doubt = _chosen(runtime, uuid, surface, type_)
        runtime.review.dismiss(full, doubt)
        undo = undo_command(runtime, full)
    if as_json:
        print_json({"uuid": full, "name": doubt.name, "type": doubt.type.value})
    else:
        print_text(f"dismissed {doubt.name} in {full} ({undo} takes it back)")


def _chosen(runtime: Runtime, uuid: str, surface: str, type_: EntityType | None) -> tuple[str, Doubt]:
    """The entry's full uuid and the one thing that waits there under these words."""
    full = runtime.journal.resolve_uuid(uuid)
    found = runtime.review.named(full, surface, type_)
    if not found:
        raise CommandFailed("nothing by these words waits in that entry: 'charlie review' lists what does")
    if len(found) > 1:
        kinds = ", ".join(f"--type {doubt.type.value.lower()}" for doubt in found)
        raise CommandFailed(f"these words wait in that entry as {len(found)} kinds of thing, say which: {kinds}")
    return full, found[0]


def _quoted(line: WaitingDoubt) -> str:
    span = line.doubt.spans[0]
    return quotation(line.around, line.at, line.at + span.end - span.start)


def _json(line: WaitingDoubt) -> dict[str, Json]:
    span = line.doubt.spans[0]
    return {
        "uuid": line.episode_uuid,
        "journal": line.journal,
        "valid_at": line.valid_at.isoformat(),
        "surface": span.surface,
        "name": line.doubt.name,
        "type": line.doubt.type.value,
        "confidence": line.doubt.confidence,
        "start": span.start,
        "end": span.end,
        "places": line.n_places,
        "quote": _quoted(line),
    }

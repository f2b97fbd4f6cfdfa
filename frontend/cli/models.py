"""Commands about models: list, pull, use, rm."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from backend.services.models import (
    Fit,
    ListedModel,
    Memory,
    list_models,
    machine_memory,
    pull_model,
    remove_model,
    use_model,
)
from frontend.cli import options
from frontend.cli.output import Json, print_error, print_json, print_table, print_text
from frontend.cli.session import settings

app = typer.Typer(
    help="Which models there are, and which one reads.",
    epilog="Example: charlie models list",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_STYLES = {"active": "bold green", "installed": "green", Fit.NEVER.value: "red", Fit.LATER.value: "yellow"}
_DUTIES = {"embedding": "makes the vectors for search", "reranker": "ranks what a search finds"}
Name = Annotated[str, typer.Argument(metavar="NAME", help="As 'charlie models list' shows it.")]


@app.command("list", epilog="Example: charlie models list --json")
def list_(as_json: options.AsJson = False) -> None:
    """List the models on this machine and those that can be fetched, and whether this machine has the memory for them.

    'needs' is the memory that a model takes while it works, with the context that is set. Nobody is contacted.
    """
    chosen, memory = settings(), machine_memory()
    found = list_models(chosen, memory)
    if as_json:
        print_json([_model_json(model, memory) for model in found])
        return
    # What it is about goes last: on a narrow terminal the last column is the one that is cut.
    columns = ("", "name", "kind", "size", "needs", "fits", "")
    print_table(columns, [_row(model) for model in found], styles=_STYLES)
    if sys.stdout.isatty():
        free, total = _size(memory.available), _size(memory.total)
        print_text(f"\n{free} of {total} memory are free; needs are for a context of {chosen.n_ctx_tokens:,} tokens")


@app.command(epilog="Example: charlie models pull qwen3-4b-instruct-2507")
def pull(name: Name, as_json: options.AsJson = False) -> None:
    """Fetch a model from the model hub and check it; goes on where an earlier try stopped.

    HF_ENDPOINT names another hub, HF_TOKEN is for those that want a login.
    """
    chosen, memory = settings(), machine_memory()
    for model in list_models(chosen, memory):
        if model.name == name.lower() and model.fit is Fit.NEVER:
            need, total = _size(model.need_bytes), _size(memory.total)
            print_error(f"{name} will not run here: it needs {need} of memory and this machine has {total} in all")
    with _progress(name) as show:
        model = pull_model(chosen, name, on_progress=show)
    if as_json:
        print_json(_model_json(model, machine_memory()))
        return
    doing = "has it read" if model.kind == "llm" else "puts it to use"
    advice = "" if model.is_active else f": 'charlie models use {model.name}' {doing}"
    print_text(f"{model.name} is here and checked, {_size(model.size_bytes)}{advice}")


@app.command(epilog="Example: charlie models use ~/Downloads/qwen3-4b-q4_k_m.gguf")
def use(
    choice: Annotated[
        str,
        typer.Argument(
            metavar="NAME | PATH", help="A model of the list or a GGUF file; 'tagger' goes back to the shipped one."
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Read new entries with this model from now on; the file is checked first.

    An embedding model makes the vectors for search in place of the shipped one, a reranker ranks what was found.
    """
    chosen = use_model(settings(), choice)
    if as_json:
        print_json(_model_json(chosen, machine_memory()))
    else:
        print_text(f"{chosen.name} {_DUTIES.get(chosen.kind, 'reads new entries')} from now on")


@app.command(epilog="Example: charlie models rm qwen3-0.6b")
def rm(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Also the one that reads now; the tagger reads from then on.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Remove a fetched model, or what there is of an unfinished download."""
    freed = remove_model(settings(), name, even_active=force)
    if as_json:
        print_json({"removed": name, "freed_bytes": freed})
    else:
        print_text(f"removed {name}: {_size(freed)} are free again")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal's stderr once bytes come; nothing elsewhere."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"Fetching {name}", total=None, visible=False)
        has_begun = False

        def show(done: int, total: int) -> None:
            nonlocal has_begun
            if not has_begun:  # what an earlier try left there counts as done, and not as this one's speed
                has_begun = True
                bar.reset(task, total=total, completed=done, visible=True)
            doing = "Checking" if done >= total else "Fetching"
            bar.update(task, completed=done, description=f"{doing} {name}")

        yield show


def _row(model: ListedModel) -> tuple[str, ...]:
    need = _size(model.need_bytes) if model.need_bytes else "?"
    return (_state(model), model.name, model.kind, _size(model.size_bytes), need, model.fit.value, _about(model))


def _state(model: ListedModel) -> str:
    if model.is_active:
        return "active"
    if model.path:
        return "unusable" if model.problem else "installed"
    return f"{model.partial_bytes / model.size_bytes:.0%} here" if model.partial_bytes else ""


def _about(model: ListedModel) -> str:
    if model.problem:
        return model.problem
    if model.entry is None:
        return "shipped with Charlie" if model.is_shipped else "your own file"
    return f"{'default: ' if model.entry.default else ''}{model.entry.note} ({model.entry.licence})"


def _model_json(model: ListedModel, memory: Memory) -> dict[str, Json]:
    entry = model.entry
    return {
        "name": model.name,
        "path": str(model.path) if model.path else None,
        "kind": model.kind,
        "size_bytes": model.size_bytes,
        "active": model.is_active,
        "installed": model.path is not None and not model.problem,
        "default": bool(entry and entry.default),
        "need_bytes": model.need_bytes or None,
        "available_bytes": memory.available,
        "total_bytes": memory.total,
        "fits": {Fit.UNKNOWN: None}.get(model.fit, model.fit is Fit.NOW),
        "fits_when_free": {Fit.UNKNOWN: None}.get(model.fit, model.fit is not Fit.NEVER),
        "partial_bytes": model.partial_bytes,
        "family": entry.family if entry else None,
        "parameters": entry.parameters if entry else None,
        "context_tokens": entry.context if entry else None,
        "licence": entry.licence if entry else None,
        "repository": entry.repository if entry else None,
        "file": entry.file if entry else None,
        "revision": model.revision or None,
        "note": entry.note if entry else None,
        "problem": model.problem or None,
    }


def _size(size_bytes: int) -> str:
    """In MB, from 1,000 of them on in GB."""
    return f"{size_bytes / 2**30:,.1f} GB" if size_bytes >= 1000 * 2**20 else f"{size_bytes / 2**20:,.0f} MB"

"""Commands about models: list, use."""

from pathlib import Path
from typing import Annotated

import typer

from backend.services.models import InstalledModel, list_models, use_model, use_tagger
from frontend.cli import options
from frontend.cli.output import Json, print_json, print_table, print_text
from frontend.cli.session import settings

app = typer.Typer(
    help="Which models there are, and which one reads.",
    epilog="Example: charlie models list",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", epilog="Example: charlie models list --json")
def list_(as_json: options.AsJson = False) -> None:
    """List the models on this machine; the active one has the last word on new entries."""
    found = list_models(settings())
    if as_json:
        print_json([_model_json(model) for model in found])
        return
    print_table(
        ("", "kind", "size", "name"),
        [
            ("active" if model.is_active else "", model.kind, f"{model.size_bytes / 2**20:,.0f} MB", model.name)
            for model in found
        ],
    )


@app.command(epilog="Example: charlie models use ~/Downloads/qwen3-4b-q4_k_m.gguf")
def use(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A GGUF instruct model; 'tagger' goes back to the shipped one.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Read new entries with this model from now on; the file is checked first."""
    chosen = use_tagger(settings()) if path == "tagger" else use_model(settings(), Path(path))
    if as_json:
        print_json(_model_json(chosen))
    else:
        print_text(f"{chosen.name} reads new entries from now on")


def _model_json(model: InstalledModel) -> dict[str, Json]:
    return {
        "name": model.name,
        "path": str(model.path),
        "kind": model.kind,
        "size_bytes": model.size_bytes,
        "active": model.is_active,
    }

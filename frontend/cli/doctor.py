"""The command that says what works on this machine."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from backend.services.doctor import Check, examine
from backend.text import for_terminal
from frontend.cli import options, self_test
from frontend.cli.output import print_json, print_text
from frontend.cli.session import settings


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Have this model read a dozen entries: one of 'charlie models list', a path, 'tagger' or 'server'.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what works on this machine, or with --model how good and how quick a model is on it.

    The exit status is 1 when something is broken.
    """
    if model is not None:
        self_test.try_model(model, as_json=as_json)
        return
    checks: list[Check] = []
    for check in examine(settings()):
        checks.append(check)
        if not as_json:
            _print(check)
    if as_json:
        print_json([{"name": check.name, "ok": check.is_ok, "detail": check.detail} for check in checks])
    if not all(check.is_ok for check in checks):
        raise typer.Exit(1)


def _print(check: Check) -> None:
    mark = "ok" if check.is_ok else "problem"
    if not sys.stdout.isatty():
        print_text(f"{mark}\t{check.name}\t{check.detail}")
        return
    line = Text(f"{mark:8}", style="green" if check.is_ok else "bold red")
    Console().print(line + Text(f"{check.name:16}{for_terminal(check.detail)}", style=""), soft_wrap=True)

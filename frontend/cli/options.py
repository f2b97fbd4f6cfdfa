"""Arguments and options that several commands share."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Uuid = Annotated[str, typer.Argument(metavar="UUID", help="The entry's uuid, or its first characters.")]
Journal = Annotated[str | None, typer.Option("--journal", "-j", metavar="J", help="Which journal; else the setting.")]
EntryText = Annotated[
    str | None,
    typer.Argument(metavar="TEXT | -", help="The text; '-' reads standard input; none opens your editor."),
]
Title = Annotated[str | None, typer.Option("--title", "-t", metavar="T", help="A title; else the first line.")]
Date = Annotated[
    str | None,
    typer.Option("--date", "-d", metavar="D", help="When it happened: 2024-03-15T21:00 or 'last friday 9pm'."),
]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most.")]

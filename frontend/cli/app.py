"""The command line: which commands there are, and what becomes of errors."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from backend.errors import CharlieError
from backend.settings import shipped_version
from frontend.cli import browse, doctor, entries, models, review, work
from frontend.cli.output import prepare_streams, print_error, print_text


class _Commands(TyperGroup):
    """Turns what Charlie raises on purpose into one line on stderr and exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        prepare_streams()
        try:
            return super().invoke(ctx)
        except CharlieError as error:
            print_error(str(error))
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    name="charlie",
    help="A private journal that reads what you write. Without a command it opens the screen.",
    epilog="Example: charlie add 'Coffee with Sarah at Blue Bottle.'",
    add_completion=False,
    no_args_is_help=True,
    # Plain help: boxes and colours come out broken in pipes and pagers.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print_text(f"charlie {shipped_version()}")
        raise typer.Exit


app.command(epilog="Example: charlie add --date 'yesterday 9pm' 'Dinner with Sarah.'")(entries.add)
app.command(epilog="Example: charlie edit 0198c5")(entries.edit)
app.command(epilog="Example: charlie delete 0198c5")(entries.delete)
app.command(epilog="Example: charlie undo")(entries.undo)
app.command(epilog="Example: charlie retry")(entries.retry)
app.command(epilog="Example: charlie reject 0198c5 May")(entries.reject)
app.command("list", epilog="Example: charlie list --limit 10 --json")(browse.list_entries)
app.command(epilog="Example: charlie show 0198c5 --json")(browse.show)
app.command(epilog="Example: charlie entities --type person")(browse.entities)
app.command(epilog="Example: charlie entity Sarah")(browse.entity)
app.command(epilog="Example: charlie work --drain")(work.work)
app.command(epilog="Example: charlie status --json")(work.status)
app.command(epilog="Example: charlie doctor")(doctor.doctor)
app.add_typer(models.app, name="models")
app.add_typer(review.app, name="review")

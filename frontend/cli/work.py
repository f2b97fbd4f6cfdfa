"""Commands about reading: work, status."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backend.domain import ModelState, Status
from backend.services.drain import DrainProgress, DrainReport, drain
from frontend.cli import options
from frontend.cli.output import CommandFailed, Json, print_json, print_text, status_json
from frontend.cli.session import opened
from frontend.state.wording import pace


def work(
    is_draining: Annotated[bool, typer.Option("--drain", help="Read until nothing waits, then end.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Read what waits, without the screen.

    Where another Charlie reads already, wait for that one.
    """
    if not is_draining:
        raise typer.BadParameter("say 'charlie work --drain': the screen reads by itself while it is open")
    with opened() as runtime, _progress() as show:
        report = drain(runtime, show)
    if as_json:
        print_json(_report_json(report), on_one_line=True)
    else:
        print_text(_in_words(report))
    if report.problem:
        raise CommandFailed(report.problem)


def status(as_json: options.AsJson = False) -> None:
    """Say what waits and what the model does; wakes no model."""
    with opened() as runtime:
        found = runtime.status()
    if as_json:
        print_json(status_json(found))
        return
    for name, count in found.journals.items():
        print_text(f"{name}: {count:,} {'entry' if count == 1 else 'entries'}")
    print_text(f"{found.pending:,} waiting, {found.dead:,} given up")
    if found.unsure:
        print_text(f"{found.unsure:,} not sure: 'charlie review' lists them")
    model = found.model
    held = ""
    if model.state is not ModelState.UNLOADED:
        doing = (f"{model.name} {model.state.value}", pace(model), f"{model.resident_mb:,.0f} MB")
        held = ", ".join(("", *filter(None, doing)))
    print_text(f"reader: {found.reader}{held}; worker: {found.worker}")
    if found.problem:
        print_text(f"reading is paused: {found.problem}")


@contextmanager
def _progress() -> Iterator[Callable[[DrainProgress], None]]:
    """A bar on the terminal's stderr while there is something to do; nothing elsewhere."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None, visible=False)

        def show(progress: DrainProgress) -> None:
            bar.update(
                task,
                description=_doing(progress.status),
                completed=progress.done,
                total=progress.total,
                visible=progress.total > 0,
            )

        yield show


def _doing(status: Status) -> str:
    if status.model.state is ModelState.LOADING:
        return f"Loading {status.model.name}"
    where = "Reading" if status.worker in ("this process", "nobody") else f"Reading in {status.worker}"
    return f"{where}: {doing}" if (doing := pace(status.model)) else where


def _in_words(report: DrainReport) -> str:
    parts = [f"{report.read:,} read in {report.seconds:,.1f} s"]
    parts += [f"{report.dead:,} given up ('charlie retry' revives)"] if report.dead else []
    parts += [f"{report.pending:,} still waiting"] if report.pending else []
    return ", ".join(parts)


def _report_json(report: DrainReport) -> dict[str, Json]:
    return {
        "read": report.read,
        "failed": report.failed,
        "dead": report.dead,
        "pending": report.pending,
        "loads": report.loads,
        "seconds": round(report.seconds, 3),
        "tokens_prompt": report.tokens.prompt,
        "tokens_reused": report.tokens.reused,
        "tokens_generated": report.tokens.generated,
        "rss_mb_before": round(report.rss_mb_before, 1),
        "rss_mb_peak": round(report.rss_mb_peak, 1),
        "rss_mb_after": round(report.rss_mb_after, 1),
        "problem": report.problem,
    }

"""`charlie doctor --model`: how good and how quick a model is on this machine."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from backend.domain import ModelState
from backend.services.self_test import Progress, candidate, run_self_test
from backend.services.verdict import Figures, SelfTest, duration
from frontend.cli.output import Json, print_json, print_text
from frontend.cli.session import opened


def try_model(choice: str, *, as_json: bool) -> None:
    """Run the self-test and print what it comes to; Ctrl-C ends it and what it loaded."""
    with opened() as runtime:
        settings = runtime.settings
        # Before anything is started: a wrong name is told at once.
        candidate(settings, choice)
        n_journal, model = sum(runtime.journal.journals().values()), runtime.status().model
    held = model.name if model.state is not ModelState.UNLOADED and model.kind == "llm" else ""
    with _progress(choice) as show:
        test = run_self_test(settings, choice, n_journal=n_journal, held=held, on_progress=show)
    if as_json:
        print_json(_json(test))
    else:
        print_text("\n".join(test.words()))


@contextmanager
def _progress(name: str) -> Iterator[Callable[[Progress], None]]:
    """A bar on the terminal's stderr; nothing elsewhere."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", markup=False),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"Trying {name}", total=None, left="")

        def show(progress: Progress) -> None:
            left = f"about {duration(progress.seconds_left)} left" if progress.seconds_left else ""
            doing = f"{name}: {progress.doing}"
            bar.update(task, description=doing, completed=progress.done, total=progress.of, left=left)

        yield show


def _json(test: SelfTest) -> dict[str, Json]:
    return {
        "name": test.name,
        "entries": test.n_entries,
        "verdict": test.verdict.name.lower(),
        "good_enough": test.is_good,
        "words": list(test.words()),
        "model": _figures_json(test.model),
        "tagger": _figures_json(test.tagger),
        "journal_entries": test.n_journal,
        "journal_hours": round(test.journal_s / 3600, 3),
    }


def _figures_json(figures: Figures) -> dict[str, Json]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(figures).items()}

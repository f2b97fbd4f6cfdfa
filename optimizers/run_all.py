"""Every prompt's optimizer in turn, with the same arguments, and a table at the end: `python optimizers/run_all.py`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Final

if not __package__:  # run as a file: Python then looks for modules in this folder, and not in the checkout
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.console import Console
from rich.table import Column, Table

from backend.errors import CharlieError
from optimizers import optimize_extract_nodes
from optimizers.prompt_cli import guarded, in_words, optimize_task, parser
from optimizers.prompt_optimizer import Outcome
from optimizers.prompt_task import Task

TASKS: Final[tuple[Task, ...]] = (optimize_extract_nodes.TASK,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 when a task failed, 2 for wrong use, 130 when it was stopped."""
    made = parser("run_all")
    made.description = "Finds better prompts for all tasks in turn: " + ", ".join(task.name for task in TASKS) + "."
    made.epilog = "--out is a folder here; a run that was cut off goes on with its own script and --resume."
    options = made.parse_args(arguments)
    if options.resume:
        made.error("--resume is for the script of one task")
    failed: list[str] = []
    status = guarded("run_all", lambda stop: _run(options, stop, failed))
    return status or (1 if failed else 0)


def _run(options: argparse.Namespace, stop: Event, failed: list[str]) -> None:
    """What goes wrong with one task is said, and the next one begins; `failed` gets its name."""
    rows: list[tuple[str, Outcome | str]] = []
    try:
        for task in TASKS:
            chosen = argparse.Namespace(**vars(options))
            chosen.out = options.out / task.path.name if options.out else None
            try:
                outcome = optimize_task(task, chosen, stop)
            except (CharlieError, OSError) as error:
                print(f"run_all: {task.name}: {in_words(error)}", file=sys.stderr)
                failed.append(task.name)
                rows.append((task.name, "failed"))
                continue
            if outcome is not None:
                rows.append((task.name, outcome))
    finally:
        if rows:
            _print(rows)


def _print(rows: Sequence[tuple[str, Outcome | str]]) -> None:
    table = Table(Column("task", no_wrap=True), "metric", "typed F1", "prompts", "answers", "winner")
    for name, outcome in rows:
        if isinstance(outcome, str):
            table.add_row(name, *[""] * 4, outcome)
            continue
        before, after = outcome.before, outcome.after
        figures = f"{before.metric:.3f} to {after.metric:.3f}", f"{before.typed_f1:.3f} to {after.typed_f1:.3f}"
        counts = str(outcome.n_candidates), str(outcome.n_asked)
        table.add_row(name, *figures, *counts, "written" if outcome.written else "not better")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())

"""The command line of the scripts that improve prompts: arguments, models, how it ended in words."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any, Final

from backend.errors import CharlieError, GoldInvalid, SettingsError, Stopped, WeightsMissing
from optimizers.command_line import count, is_url, positive, stop_on_interrupt
from optimizers.prompt_optimizer import Outcome, Plan, optimize
from optimizers.prompt_runs import RUNS, RunFolder, new_run, open_run
from optimizers.prompt_task import Split, Task, split_entries
from optimizers.search import BUDGETS, budget_of, check_installed
from optimizers.sets import NAMED, GoldSet, learnable, may_be_shown, open_sets
from optimizers.students import Student, open_student

_EXAMPLES: Final = """examples:
  python optimizers/{prog}.py --student ~/models/qwen3-4b.gguf --optimizer bootstrap --budget light
  python optimizers/{prog}.py --student ~/models/qwen3-4b.gguf --teacher http://127.0.0.1:8080/v1 --optimizer gepa
  python optimizers/{prog}.py --student http://127.0.0.1:8080/v1 --optimizer mipro --budget 400
  python optimizers/{prog}.py --resume 20260301-201500-extract_nodes

The budget is the number of answers to be scored, about: a number, or light, medium or heavy for 6, 15 or 40 times the
validation entries. What the teacher writes to propose instructions comes on top.
Settings of the application count where they are in the environment, such as CHARLIE_N_CTX_TOKENS, CHARLIE_N_PARALLEL,
CHARLIE_LLM_API_KEY and CHARLIE_ALLOW_REMOTE.
Ctrl-C leaves a run that --resume goes on with; no answer is asked for twice.
"""
# Of this call alone; and what a run that goes on may be told anew.
_MOMENTARY: Final = frozenset({"resume", "runs", "threads", "dry_run", "given"})
_FREE: Final = frozenset({"out", "force"})


def run_task(task: Task, arguments: Sequence[str] | None, *, prog: str) -> int:
    """Do what the command line asks for; the exit status."""
    made = parser(prog)
    options = made.parse_args(arguments)
    options.given = _given(made, arguments)
    return guarded(prog, lambda stop: tell(optimize_task(task, options, stop)))


def guarded(prog: str, work: Callable[[Event], None]) -> int:
    """The exit status of `work`, called with an event that Ctrl-C sets; what goes wrong is one clear line on stderr."""
    try:
        with stop_on_interrupt() as stop:
            work(stop)
    except (Stopped, KeyboardInterrupt):
        print(f"{prog}: stopped", file=sys.stderr)
        return 130
    except (CharlieError, OSError) as error:
        for line in in_words(error).splitlines():
            print(f"{prog}: {line}", file=sys.stderr)
        return 1
    return 0


def in_words(error: CharlieError | OSError) -> str:
    """What went wrong, for the person at the command line."""
    return f"{error.filename or 'output'}: {error.strerror}" if isinstance(error, OSError) else str(error)


def parser(prog: str) -> argparse.ArgumentParser:
    """The arguments that all scripts for prompts share."""
    made = argparse.ArgumentParser(
        prog=f"python optimizers/{prog}.py",
        description="Finds a prompt with which a model reads better, and keeps it where it is better.",
        epilog=_EXAMPLES.format(prog=prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--student", metavar="MODEL", help="the model that is to read better: a GGUF file, or the URL of a server")
    add("--student-model", metavar="NAME", help="which of the server's models")
    add("--teacher", metavar="MODEL", help="writes demonstrations and instructions (default: the student)")
    add("--teacher-model", metavar="NAME", help="which of that server's models")
    add("--optimizer", choices=("bootstrap", "mipro", "gepa"), default="bootstrap", help="default: bootstrap")
    add(
        "--budget", type=_budget, default="light", help="answers to be scored, or light, medium, heavy (default: light)"
    )
    add("--demos", type=count, default=3, metavar="N", help="most demonstrations in a prompt (default: 3)")
    add("--set", default="tuning", help="gold entries: tuning (default), or a file; never the reporting set")
    add("--limit", type=positive, metavar="N", help="only N of the entries, of as many authors as there are")
    add("--seed", type=count, default=0, help="of the split and the search (default: 0)")
    add("--threads", type=positive, metavar="N", help="entries read together (default: as the settings say)")
    add("--out", type=Path, metavar="FILE", help="where the winner goes (default: where the application looks)")
    add("--force", action="store_true", help="write the best candidate even where the plain prompt is as good")
    add("--runs", type=Path, default=RUNS, metavar="DIR", help="where runs are kept (default: optimizers/runs)")
    add("--resume", metavar="RUN", help="go on with a run that was cut off: its name, or its folder")
    add("--dry-run", action="store_true", help="say what would be done; loads no model and writes nothing")
    return made


def optimize_task(task: Task, options: argparse.Namespace, stop: Event) -> Outcome | None:
    """The run that the options ask for; everything is checked before a model is loaded. None for a dry run."""
    for name in ("student", "teacher", "set"):
        setattr(options, name, _absolute(getattr(options, name)))
    if options.out:
        options.out = options.out.expanduser().absolute()
    folder = _resumed(task, options) if options.resume else None
    if not options.student:
        raise SettingsError("--student", "the command line", "say which model is to read better: a file or a URL")
    for name in ("student", "teacher"):
        _check_model(name, getattr(options, name), getattr(options, f"{name}_model"))
    check_installed(options.optimizer)
    gold = _gold(options.set)
    split = split_entries(learnable(gold), limit=options.limit, seed=options.seed)
    budget = budget_of(options.budget, len(split.validation))
    for which in filter(None, (options.student, options.teacher)):
        if not is_url(which) and not Path(which).is_file():
            raise WeightsMissing(Path(which))
    if options.dry_run:
        _tell_plan(task, options, split, budget)
        return None
    with ExitStack() as held:
        student, teacher = _open_models(options, held, stop)
        if folder is None:
            # Not before: what cannot be loaded leaves no folder.
            folder = new_run(options.runs, task.name, _kept(options))
        print(f"{task.name}: run {folder.path.name}", file=sys.stderr)
        plan = Plan(
            optimizer=options.optimizer,
            budget=budget,
            n_demos=options.demos,
            seed=options.seed,
            threads=options.threads or student.n_parallel,
            split=split,
            gold_hash=gold.digest,
            out=options.out or task.path,
            is_private=options.set not in NAMED,
            is_forced=options.force,
        )
        try:
            return optimize(task, plan, student, teacher, folder, stop=stop)
        except (CharlieError, OSError, Stopped, KeyboardInterrupt):
            which = folder.path.name if folder.path.parent == RUNS else folder.path
            print(f"{task.name}: go on with --resume {which}", file=sys.stderr)
            raise


def _open_models(options: argparse.Namespace, held: ExitStack, stop: Event) -> tuple[Student, Student]:
    """The student and the teacher, which may be one; both stay loaded as long as `held` is open."""

    def opened(which: str, model: str | None) -> Student:
        print(f"loading {Path(which).name if '://' not in which else which}", file=sys.stderr)
        reader = open_student(which, model=model, runs=options.runs, threads=options.threads, stopping=stop.is_set)
        return held.enter_context(reader)

    student = opened(options.student, options.student_model)
    chosen = options.teacher or options.student, options.teacher_model
    if chosen in ((options.student, options.student_model), (options.student, None)):
        return student, student
    return student, opened(*chosen)


def _resumed(task: Task, options: argparse.Namespace) -> RunFolder:
    """The run that goes on; `options` become those that it began with."""
    folder, begun = open_run(options.runs, options.resume, task.name)
    for name, value in begun.items():
        if name not in options.given:
            setattr(options, name, Path(value) if name == "out" and value else value)
        elif name not in _FREE and getattr(options, name) != value:
            flag = f"--{name.replace('_', '-')}"
            raise SettingsError(flag, "the command line", f"{folder.path.name} began with {value}; begin a new run")
    return folder


def _given(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> frozenset[str]:
    """The options that stand in the arguments, with their default values too."""
    absent = object()
    blank = argparse.Namespace(**dict.fromkeys(vars(made.parse_args([])), absent))
    return frozenset(name for name, value in vars(made.parse_args(arguments, blank)).items() if value is not absent)


def _kept(options: argparse.Namespace) -> dict[str, Any]:
    """What a run that goes on needs to know, as JSON takes it."""
    kept = {name: value for name, value in vars(options).items() if name not in _MOMENTARY}
    return kept | {"out": str(options.out) if options.out else None}


def _absolute(which: str | None) -> str | None:
    """A file's path as it is from everywhere: a run may go on from another folder. What is no file stays."""
    if which is None or which in NAMED:
        return which
    path = Path(which).expanduser().absolute()
    return str(path) if path.is_file() else which


def _check_model(name: str, which: str | None, model: str | None) -> None:
    if model is not None and not is_url(which or ""):
        problem = f"names a model of a server: give the server's URL as --{name}"
        raise SettingsError(f"--{name}-model", "the command line", problem)


def _gold(which: str) -> GoldSet:
    (gold,) = open_sets([which])
    if not may_be_shown(gold):
        raise GoldInvalid(("the reporting set is not for tuning: figures on it would mean nothing any more",))
    return gold


def _tell_plan(task: Task, options: argparse.Namespace, split: Split, budget: int) -> None:
    print(f"{task.name}: {options.optimizer}, student {options.student}, teacher {options.teacher or 'the same'}")
    print(f"{len(split.train)} entries to learn from, {len(split.validation)} to compare by, of other authors")
    print(f"about {budget} answers to score, after {len(split.validation)} for the plain prompt")
    print(f"a better prompt would go to {options.out or task.path}")


def tell(outcome: Outcome | None) -> None:
    """Print how a run ended; nothing of a dry one."""
    if outcome is None:
        return
    print(f"{outcome.task}: {outcome.n_candidates} prompts compared on {outcome.before.n_entries} entries")
    print(f"{'':8}{'metric':>8}{'typed F1':>10}")
    for name, scores in (("before", outcome.before), ("after", outcome.after)):
        print(f"{name:8}{scores.metric:8.3f}{scores.typed_f1:10.3f}")
    print(f"{outcome.n_asked} answers, {outcome.n_kept} of them kept from before; all in {outcome.folder}")
    if outcome.ended_early:
        print(f"the search ended early ({outcome.ended_early}); see {outcome.folder / 'optimizer.log'}")
    print(f"written to {outcome.written}" if outcome.written else "nothing was written: no prompt is better")
    if outcome.written and outcome.is_private:
        print("it quotes your entries: nobody else can read it, and it is not for publishing with the program")


def _budget(text: str) -> str:
    if text not in BUDGETS:
        positive(text)
    return text

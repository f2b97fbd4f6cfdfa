"""One optimizer run: the plain prompt is scored, the search runs, the winner is written where it is better."""

import contextlib
import random
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any

import dspy

from backend.errors import Stopped
from backend.graph.prompt_store import ADAPTER, PromptProvenance, Scores, write_prompt
from backend.inference.dspy_lm import DspyLM
from optimizers.meter import Meter
from optimizers.prompt_runs import Candidates, RunFolder, check_same, hash_of
from optimizers.prompt_task import Split, Task, may_demonstrate
from optimizers.search import Search, evaluate, run_search
from optimizers.students import RunEnded, RunLM, Student, Tally, answers_kept


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, apart from the models."""

    optimizer: str
    # Answers to be scored, about.
    budget: int
    n_demos: int
    seed: int
    threads: int
    split: Split
    gold_hash: str
    # Where the winner is written.
    out: Path
    # The entries are nobody else's business, nor is a prompt that quotes them.
    is_private: bool
    # Write the best that was found even where it is not better.
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    task: str
    folder: Path
    before: Scores
    after: Scores
    n_candidates: int
    # Answers that were asked for, and those of them that had been kept.
    n_asked: int
    n_kept: int
    # None where it was not better.
    written: Path | None
    # Whether it may quote entries that are nobody else's business.
    is_private: bool
    # Why the search ended before its budget was used up; empty where it did not.
    ended_early: str = ""


def optimize(task: Task, plan: Plan, student: Student, teacher: Student, folder: RunFolder, *, stop: Event) -> Outcome:
    """Run `plan` in `folder`, going on where an earlier run in it was cut off.

    Raises:
        SettingsError: the folder is of a run with other models, entries or versions.
        Stopped, ReadingUnavailable: the run was cut off, and can be resumed.
        OSError: a file could not be written; the run can be resumed.
    """
    check_same(folder, _depends_on(task, student, teacher, plan.gold_hash))
    tally = Tally()
    student_lm, teacher_lm = (_in_run(one, plan.seed, tally) for one in (student, teacher))
    search, meter = _search(task, plan, student_lm, teacher_lm)
    seen = Candidates(task, search.validation, folder, student_lm, stop=stop, meter=meter)
    try:
        with answers_kept(folder.answers), _quiet(folder.log), _context(search, seen):
            meter.phase = "plain prompt"
            evaluate(search.program, search)
            meter.phase = plan.optimizer
            ended_early = _searched(plan.optimizer, search)
    except RunEnded as ended:
        raise ended.cause from None
    finally:
        meter.close()
    if stop.is_set():  # DSPy may have taken it for an error of its own
        raise Stopped
    return _finished(task, plan, (student, teacher), folder, seen, tally, ended_early)


def _in_run(model: Student, seed: int, tally: Tally) -> Any:
    return RunLM(model.lm, seed=seed, tally=tally) if isinstance(model.lm, DspyLM) else model.lm


def _search(task: Task, plan: Plan, student_lm: Any, teacher_lm: Any) -> tuple[Search, Meter]:
    train = [task.example_of(entry) for entry in plan.split.train]
    random.Random(plan.seed).shuffle(train)
    validation = [task.example_of(entry) for entry in plan.split.validation]
    meter = Meter(plan.budget + len(validation))
    search = Search(
        program=task.build(),
        metric=task.metric,
        train=train,
        demos=may_demonstrate(train, student_lm if isinstance(student_lm, DspyLM) else None, n_demos=plan.n_demos),
        validation=validation,
        student=student_lm,
        teacher=teacher_lm,
        budget=plan.budget,
        n_demos=plan.n_demos,
        seed=plan.seed,
        threads=plan.threads,
    )
    return search, meter


def _searched(optimizer: str, search: Search) -> str:
    """Why the search ended early, by what kind of error; empty where it did not."""
    try:
        run_search(optimizer, search)
    except Exception as error:  # noqa: BLE001 # DSPy lets anything through; what was compared until then stands
        traceback.print_exc()  # into the run's log
        return type(error).__name__
    return ""


def _finished(
    task: Task,
    plan: Plan,
    models: tuple[Student, Student],
    folder: RunFolder,
    seen: Candidates,
    tally: Tally,
    ended_early: str,
) -> Outcome:
    plain = seen.found[hash_of(task.prompt_of(task.build(), None))]
    best = seen.best_beside(plain)
    is_better = best is not None and best.scores.metric > plain.scores.metric
    written = None
    if best is not None and (is_better or plan.is_forced):
        made = _provenance(task, plan, models, plain.scores, best.scores)
        winner = task.prompt_of(best.program, made)
        # Here first: where the other cannot be written, it is not lost.
        write_prompt(folder.winner, winner, is_private=plan.is_private)
        write_prompt(plan.out, winner, is_private=plan.is_private)
        written = plan.out
    outcome = Outcome(
        task=task.name,
        folder=folder.path,
        before=plain.scores,
        after=best.scores if best is not None else plain.scores,
        n_candidates=len(seen.found),
        n_asked=tally.n_asked,
        n_kept=tally.n_kept,
        written=written,
        is_private=plan.is_private,
        ended_early=ended_early,
    )
    folder.finish(_as_json(outcome, is_better))
    return outcome


def _provenance(
    task: Task, plan: Plan, models: tuple[Student, Student], before: Scores, after: Scores
) -> PromptProvenance:
    student, teacher = models
    return PromptProvenance(
        dspy=version("dspy"),
        adapter=ADAPTER,
        schema_hash=task.schema_hash,
        student_weights=student.weights,
        student=student.name,
        teacher_weights=teacher.weights,
        teacher=teacher.name,
        optimizer=plan.optimizer,
        budget=plan.budget,
        seed=plan.seed,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        gold_hash=plan.gold_hash,
        before=before,
        after=after,
    )


def _depends_on(task: Task, student: Student, teacher: Student, gold_hash: str) -> dict[str, Any]:
    return {
        "student": student.weights,
        "teacher": teacher.weights,
        "gold entries": gold_hash,
        "form of answers": task.schema_hash,
        "plain prompt": hash_of(task.prompt_of(task.build(), None)),
        "DSPy": version("dspy"),
    }


@contextlib.contextmanager
def _context(search: Search, seen: Candidates) -> Iterator[None]:
    """DSPy's settings for this thread and those it starts; the adapter is the application's."""
    adapter = dspy.JSONAdapter()
    with dspy.context(lm=search.student, adapter=adapter, disable_history=True, callbacks=[seen]):
        yield


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """What DSPy prints goes into a file: it draws bars of its own, on both outputs."""
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield


def _as_json(outcome: Outcome, is_better: bool) -> dict[str, Any]:
    return {
        "before": outcome.before.model_dump(),
        "after": outcome.after.model_dump(),
        "is_better": is_better,
        "written": str(outcome.written) if outcome.written else None,
        "n_candidates": outcome.n_candidates,
        "n_asked": outcome.n_asked,
        "n_kept": outcome.n_kept,
        "ended_early": outcome.ended_early,
    }

"""The searches: BootstrapFewShot, MIPROv2 and GEPA over one program; `prompt_runs.Candidates` sees what they find.

All of them are driven by one seed and ask in an order that depends on the answers alone: a run that is begun again with
the answers of the first one takes the same way.
"""

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import dspy

from backend.errors import SettingsError

# A teacher's answer serves as a demonstration from this score on.
_GOOD_ENOUGH: Final = 0.6
# Entries that a teacher tries at most for each demonstration.
_TRIES_A_DEMO: Final = 4
# DSPy counts errors and gives up; ours end a run themselves.
_MANY: Final = 10**9
_MOST_CANDIDATES: Final = 12
_NEEDS: Final = {"mipro": "optuna", "gepa": "gepa"}
# Validations that the budgets with names stand for.
BUDGETS: Final = {"light": 6, "medium": 15, "heavy": 40}
# Examples that MIPROv2 shows its prompt model at once, so that they fit a context of 4,096 tokens.
_VIEWED_TOGETHER: Final = 3


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched with."""

    program: Any
    metric: Callable[..., Any]
    # Entries to reflect on; those that are short enough to be demonstrations; entries to compare by.
    train: Sequence[Any]
    demos: Sequence[Any]
    validation: Sequence[Any]
    student: Any
    teacher: Any
    # Answers to be scored, about.
    budget: int
    n_demos: int
    seed: int
    threads: int


def check_installed(optimizer: str) -> None:
    """Raises SettingsError where the package that an optimizer needs is not installed."""
    package = _NEEDS.get(optimizer)
    if package and find_spec(package) is None:
        problem = f"{optimizer} needs the package {package}: pip install 'charlie-journal[optimizers]'"
        raise SettingsError("--optimizer", "the command line", problem)


def budget_of(text: str, n_validation: int) -> int:
    """The answers that a budget stands for: a number, or a name, which means so many validations."""
    return BUDGETS[text] * n_validation if text in BUDGETS else int(text)


def run_search(optimizer: str, search: Search) -> None:
    """Search until the budget is used up; raises what DSPy raises."""
    with warnings.catch_warnings():
        # Of optuna's sampler and GEPA's interface; nobody who runs this can do anything about them.
        warnings.filterwarnings("ignore", message=".*experimental.*")
        with dspy.context(max_errors=_MANY):
            {"bootstrap": _bootstrap, "mipro": _mipro, "gepa": _gepa}[optimizer](search)


def evaluate(program: Any, search: Search) -> Any:
    """DSPy's evaluation of a program on all that candidates are compared by."""
    return dspy.Evaluate(
        devset=list(search.validation),
        metric=search.metric,
        num_threads=search.threads,
        max_errors=_MANY,
        provide_traceback=False,
    )(program)


def _bootstrap(search: Search) -> None:
    """Sets of demonstrations, some of the teacher's making and the rest as annotated, each set compared."""
    rng = random.Random(search.seed)
    n_tried = _TRIES_A_DEMO * max(1, search.n_demos)
    n_rounds = max(1, search.budget // (len(search.validation) + n_tried))
    for number in range(n_rounds):
        shown = list(search.demos) if number == 0 else rng.sample(list(search.demos), len(search.demos))
        optimizer = dspy.BootstrapFewShot(
            metric=search.metric,
            metric_threshold=_GOOD_ENOUGH,
            teacher_settings={"lm": search.teacher},
            max_bootstrapped_demos=search.n_demos if number == 0 else rng.randint(0, search.n_demos),
            max_labeled_demos=search.n_demos,
            max_errors=_MANY,
        )
        program = optimizer.compile(search.program.deepcopy(), trainset=shown[:n_tried])
        evaluate(program, search)


def _mipro(search: Search) -> None:
    n_trials = max(1, search.budget // len(search.validation))
    optimizer = dspy.MIPROv2(
        metric=search.metric,
        prompt_model=search.teacher,
        task_model=search.student,
        teacher_settings={"lm": search.teacher},
        max_bootstrapped_demos=search.n_demos,
        max_labeled_demos=search.n_demos,
        auto=None,
        num_candidates=max(2, min(_MOST_CANDIDATES, n_trials)),
        num_threads=search.threads,
        max_errors=_MANY,
        seed=search.seed,
        metric_threshold=_GOOD_ENOUGH,
    )
    optimizer.compile(
        search.program.deepcopy(),
        trainset=list(search.demos)[: _TRIES_A_DEMO * max(1, search.n_demos)],
        valset=list(search.validation),
        num_trials=n_trials,
        minibatch=False,
        view_data_batch_size=_VIEWED_TOGETHER,
    )


def _gepa(search: Search) -> None:
    optimizer = dspy.GEPA(
        metric=search.metric,
        max_metric_calls=search.budget,
        # The likeliest reflection on the same examples would be the same again.
        reflection_lm=search.teacher.copy(temperature=1.0),
        num_threads=search.threads,
        # There is one predictor, so nothing to merge.
        use_merge=False,
        seed=search.seed,
    )
    optimizer.compile(search.program.deepcopy(), trainset=list(search.train), valset=list(search.validation))

"""What an optimizer needs to know of a task, and the entries it may learn from."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from backend.errors import GoldInvalid
from backend.graph.gold import GoldEntry
from backend.graph.prompt_store import Prompt, PromptProvenance, Scores

# Part of the entries by which candidates are compared.
_VALIDATION_SHARE: Final = 0.35
# Demonstrations may take this part of the context, all together.
_DEMOS_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt to be improved; one file of this folder each."""

    # Also the name of its prompt's file.
    name: str
    # The class of the program; without arguments it has the plain prompt, in one predictor.
    build: type
    # A gold entry as `dspy.Example`, whose fields beside the inputs are the best answer.
    example_of: Callable[[GoldEntry], Any]
    # As DSPy's optimizers call it; see `metric.metric`.
    metric: Callable[..., Any]
    # Figures of `dspy.Evaluate`'s results: example, answer, score.
    scores_of: Callable[[Sequence[tuple[Any, Any, float]]], Scores]
    # The prompt of a program.
    prompt_of: Callable[[Any, PromptProvenance | None], Prompt]
    # Whether the application would use a program's prompt with a model: it leaves entries enough of the context.
    fits: Callable[[Any, Any], bool]
    schema_hash: str
    # Where the application looks for the winner.
    path: Path


class Counts(Protocol):
    """What a model tells of its context."""

    n_ctx_tokens: int

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        ...


@dataclass(frozen=True, slots=True)
class Split:
    """Entries to learn from, and entries to compare by; no author is in both."""

    train: tuple[GoldEntry, ...]
    validation: tuple[GoldEntry, ...]


def split_entries(entries: Sequence[GoldEntry], *, limit: int | None, seed: int) -> Split:
    """At most `limit` entries, of as many authors as there are, split by author; the same for the same `seed`.

    Raises:
        GoldInvalid: they are of one author.
    """
    by_author: dict[str, list[GoldEntry]] = {}
    for entry in entries:
        by_author.setdefault(entry.author, []).append(entry)
    if len(by_author) < 2 or (limit is not None and limit < 2):
        raise GoldInvalid(("a prompt is compiled on entries of two authors at least: one to learn, one to compare",))
    authors = list(by_author)
    random.Random(seed).shuffle(authors)
    chosen = _taken(by_author, authors, limit if limit is not None else len(entries))
    used = [author for author in authors if chosen[author]]
    n_wanted = max(1, round(_VALIDATION_SHARE * sum(map(len, chosen.values()))))
    validation: list[GoldEntry] = []
    while len(validation) < n_wanted and len(used) > 1:
        validation += chosen[used.pop()]
    return Split(tuple(entry for author in used for entry in chosen[author]), tuple(validation))


def _taken(by_author: dict[str, list[GoldEntry]], authors: Sequence[str], limit: int) -> dict[str, list[GoldEntry]]:
    """One entry of each author in turn, until there are enough."""
    most = max(map(len, by_author.values()))
    turns = [(author, n) for n in range(most) for author in authors if n < len(by_author[author])]
    taken: dict[str, list[GoldEntry]] = {author: [] for author in authors}
    for author, n in turns[:limit]:
        taken[author].append(by_author[author][n])
    return taken


def may_demonstrate(examples: Sequence[Any], lm: Counts | None, *, n_demos: int) -> list[Any]:
    """The examples that are short enough to be demonstrations, `n_demos` at a time, in their order.

    Where too few are, the shortest. Without `lm` nothing is known of the context, and all may.
    """
    if lm is None or not n_demos:
        return list(examples)
    most = int(lm.n_ctx_tokens * _DEMOS_SHARE / n_demos)
    costs = [lm.count_tokens(_shown(example)) for example in examples]
    least = sorted(costs)[: 2 * n_demos][-1]
    return [example for example, cost in zip(examples, costs, strict=True) if cost <= max(most, least)]


def _shown(example: Any) -> str:
    things = [thing.model_dump() for thing in example.entities]
    return f"{example.entry}\n{json.dumps(things, ensure_ascii=False)}"

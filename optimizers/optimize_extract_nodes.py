"""Finds a better prompt for reading entities with one model: `python optimizers/optimize_extract_nodes.py --help`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

if not __package__:  # run as a file: Python then looks for modules in this folder, and not in the checkout
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import dspy

from backend.graph.llm_reader import LEAST_TEXT_TOKENS, program_parts, text_tokens
from backend.graph.prompt_store import (
    EXTRACT_NODES,
    PROMPTS,
    Demonstration,
    Prompt,
    PromptProvenance,
    Scores,
    plain_prompt,
)
from backend.graph.signatures import NamedThing, schema_hash
from backend.graph.split import TextLimit, pieces
from backend.inference.dspy_lm import DspyLM
from optimizers.metric import example_of, judge, metric
from optimizers.prompt_cli import run_task
from optimizers.prompt_task import Task


class EntryReader(dspy.Module):  # type: ignore[misc] # dspy ships no types
    """Reads an entry as the application does: in pieces where it is longer than the context leaves room for."""

    def __init__(self) -> None:
        super().__init__()
        signature, demos = program_parts(plain_prompt())
        self.find = dspy.Predict(signature)
        self.find.demos = demos

    def forward(self, written_on: str, entry: str) -> Any:
        """A prediction with `entities`."""
        lm = dspy.settings.lm
        # Of any other model nothing is known of its context.
        limit = TextLimit(max(64, _text_tokens(self, lm)), lm.count_tokens) if isinstance(lm, DspyLM) else None
        things: list[NamedThing] = []
        for _, piece in pieces(entry, limit):
            things += self.find(written_on=written_on, entry=piece).entities
        return dspy.Prediction(entities=things)


def _text_tokens(program: EntryReader, lm: DspyLM) -> int:
    return text_tokens(lm, dspy.JSONAdapter(), program.find.signature, program.find.demos)


def _fits(program: EntryReader, lm: Any) -> bool:
    return not isinstance(lm, DspyLM) or _text_tokens(program, lm) >= LEAST_TEXT_TOKENS


def _prompt_of(program: EntryReader, provenance: PromptProvenance | None) -> Prompt:
    demos = tuple(
        Demonstration(written_on=demo.written_on, entry=demo.entry, entities=tuple(demo.entities))
        for demo in program.find.demos
    )
    return Prompt(instructions=program.find.signature.instructions, demos=demos, provenance=provenance)


def _scores_of(results: Sequence[tuple[Any, Any, float]]) -> Scores:
    judged = [judge(one.entry, getattr(answer, "entities", None) or (), one.gold) for one, answer, _ in results]
    n_right, n_all = sum(one.n_right for one in judged), sum(one.n_found + one.n_gold for one in judged)
    return Scores(
        metric=round(sum(float(score) for _, _, score in results) / len(results), 4),
        typed_f1=round(2 * n_right / n_all, 4) if n_all else 1.0,
        n_entries=len(results),
    )


TASK: Final = Task(
    name=EXTRACT_NODES,
    build=EntryReader,
    example_of=example_of,
    metric=metric,
    scores_of=_scores_of,
    prompt_of=_prompt_of,
    fits=_fits,
    schema_hash=schema_hash(),
    path=PROMPTS / f"{EXTRACT_NODES}.json",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 with the reason on stderr, 2 for wrong use, 130 when it was stopped."""
    return run_task(TASK, arguments, prog="optimize_extract_nodes")


if __name__ == "__main__":
    sys.exit(main())

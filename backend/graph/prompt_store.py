"""Compiled prompts: what an optimizer found to work better than the signature's own words, and when it may be used.

A prompt was measured with one model, one adapter and one answer schema. Demonstrations that help one model can harm
another (they teach it the first one's habits, and take room of its context), so a prompt serves the very weights that
it was measured on and no others; everybody else gets the plain prompt, and `PromptChoice.reason` says why. There is no
setting to override that: `optimizers/optimize_extract_nodes.py` makes a prompt for another model.
"""

import contextlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.errors import PromptInvalid
from backend.graph.signatures import FindEntities, NamedThing, schema_hash

PROMPTS: Final = Path(__file__).parent / "prompts"
EXTRACT_NODES: Final = "extract_nodes"
# How every reader puts a signature into messages, and reads the answer.
ADAPTER: Final = "JSONAdapter"

_log = logging.getLogger(__name__)
_STRICT: Final = ConfigDict(extra="forbid", frozen=True)


class Demonstration(BaseModel):
    """An entry and what is to be found in it."""

    model_config = _STRICT

    written_on: str
    entry: Annotated[str, Field(min_length=1)]
    entities: tuple[NamedThing, ...]


class Scores(BaseModel):
    """What a prompt reached on the validation entries, 0 to 1."""

    model_config = _STRICT

    # Mean of the optimizer's metric.
    metric: Annotated[float, Field(ge=0, le=1)]
    # Exact places with their types, over all entries.
    typed_f1: Annotated[float, Field(ge=0, le=1)]
    n_entries: Annotated[int, Field(ge=1)]


class PromptProvenance(BaseModel):
    """What a prompt was made with; the first four must be the same where it is used."""

    model_config = _STRICT

    # Version of DSPy; its first two numbers count.
    dspy: str
    adapter: str
    # See `signatures.schema_hash`.
    schema_hash: str
    # Hash of the student's weights (see `domain.Provenance`), and its name.
    student_weights: str
    student: str
    teacher_weights: str
    teacher: str
    # bootstrap, mipro or gepa.
    optimizer: str
    budget: int
    seed: int
    # ISO 8601, UTC.
    date: str
    # SHA-256 of the file with the gold entries, hex, first 16 digits.
    gold_hash: str
    before: Scores
    after: Scores


class Prompt(BaseModel):
    """What a reader is told."""

    model_config = _STRICT

    instructions: Annotated[str, Field(min_length=1)]
    demos: tuple[Demonstration, ...] = ()
    # None for the signature's own words.
    provenance: PromptProvenance | None = None


@dataclass(frozen=True, slots=True)
class PromptChoice:
    """The prompt that a reader uses, and why this one, in words for people."""

    prompt: Prompt
    reason: str

    @property
    def is_compiled(self) -> bool:
        """Whether an optimizer made it."""
        return self.prompt.provenance is not None


def plain_prompt() -> Prompt:
    """The signature's own words."""
    return Prompt(instructions=FindEntities.instructions)


def choose_prompt(weights: str, folder: Path = PROMPTS) -> PromptChoice:
    """The compiled prompt in `folder` where it fits a model with these `weights`, else the plain one.

    The answer is kept as long as the file stays the same; a new one is logged.
    """
    path = folder / f"{EXTRACT_NODES}.json"
    try:
        stat = path.stat()
    except OSError:
        return PromptChoice(plain_prompt(), "plain: none has been compiled")
    return _choose(weights, path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _choose(weights: str, path: Path, _size_bytes: int, _changed_ns: int) -> PromptChoice:
    try:
        prompt = read_prompt(path)
        misfit = _misfit(prompt, weights)
    except PromptInvalid as error:
        prompt, misfit = None, str(error)
    if prompt is None or misfit:
        choice = PromptChoice(plain_prompt(), f"plain: {misfit}")
        _log.warning("the prompt for entities is %s", choice.reason)
        return choice
    made = prompt.provenance
    assert made is not None  # or it would not fit
    gain = f"{made.before.metric:.3f} to {made.after.metric:.3f}"
    choice = PromptChoice(prompt, f"compiled: {made.optimizer} for {made.student} on {made.date[:10]}, {gain}")
    _log.info("the prompt for entities is %s", choice.reason)
    return choice


def _misfit(prompt: Prompt, weights: str) -> str:
    """Why the prompt is not for this program and this model; empty where it is."""
    made = prompt.provenance
    if made is None:
        return "the compiled one does not say what it was made with"
    if made.schema_hash != schema_hash():
        return "the compiled one is for another form of answers; compile it again"
    if made.adapter != ADAPTER:
        return f"the compiled one is for {made.adapter[:40]}, and {ADAPTER} is used; compile it again"
    if _minor(made.dspy) != _minor(version("dspy")):
        return f"the compiled one is for DSPy {made.dspy[:20]}, and this is {version('dspy')}; compile it again"
    if made.student_weights != weights:
        return f"the compiled one is for {made.student[:80]} ({made.student_weights[:16]}), and another model reads"
    return ""


def _minor(number: str) -> list[str]:
    return number.split(".")[:2]


def read_prompt(path: Path) -> Prompt:
    """The prompt in a file.

    Raises:
        PromptInvalid: it cannot be read, or is no prompt; one line, with the first thing that is wrong.
    """
    try:
        return Prompt.model_validate_json(path.read_bytes())
    except OSError as error:
        raise PromptInvalid(path, error.strerror or "it cannot be read") from error
    except ValidationError as error:
        # It quotes its input.
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PromptInvalid(path, f"{where}: {first['msg']}" if where else str(first["msg"])) from None


def write_prompt(path: Path, prompt: Prompt, *, is_private: bool) -> None:
    """Replace the file at `path` in one step: whoever reads it meanwhile gets the old one or the new one.

    Only its owner can read one that `is_private`: compiled on a person's own entries, it quotes them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(prompt.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o600 if is_private else 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise

"""A run's folder: what it was started with, its answers, every candidate with its score, and how it ended.

    run.json          what it was started with, and with which models, entries and versions
    answers/          DSPy's cache: a run that is begun again asks for nothing twice
    candidates.jsonl  a line a prompt that was compared, in the order found
    optimizer.log     what DSPy printed
    winner.json       the prompt that won, as it is written for the application too
    result.json       scores before and after, answers asked for, how it ended

Nobody but its owner may look into it: the answers quote the entries.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

from dspy.utils.callback import BaseCallback

from backend.errors import SettingsError
from backend.graph.prompt_store import Prompt, Scores
from backend.inference.weights import read_json, write_json
from optimizers.meter import Meter
from optimizers.prompt_task import Task

RUNS: Final = Path(__file__).parent / "runs"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that is there."""

    path: Path

    @property
    def answers(self) -> Path:
        """Where DSPy keeps answers."""
        return self.path / "answers"

    @property
    def log(self) -> Path:
        """What DSPy printed."""
        return self.path / "optimizer.log"

    @property
    def winner(self) -> Path:
        """The prompt that won, where one did."""
        return self.path / "winner.json"

    def finish(self, result: dict[str, Any]) -> None:
        """Keep how the run ended."""
        write_json(self.path / "result.json", result)

    def note(self, candidate: dict[str, Any]) -> None:
        """Keep one candidate."""
        with (self.path / "candidates.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(candidate, ensure_ascii=False) + "\n")

    def noted(self) -> set[str]:
        """The hashes of the candidates that are kept; a line that was cut off is none."""
        path = self.path / "candidates.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        found = set()
        for line in lines:
            try:
                found.add(str(json.loads(line)["prompt"]))
            except (ValueError, KeyError, TypeError):
                continue
        return found


def new_run(runs: Path, task: str, arguments: dict[str, Any]) -> RunFolder:
    """A new folder in `runs` for what is started with `arguments`."""
    runs.mkdir(parents=True, exist_ok=True)
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{task}"
    for number in range(1, 1000):
        path = runs / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        write_json(path / "run.json", {"task": task, "arguments": arguments})
        return RunFolder(path)
    raise SettingsError("--runs", "the command line", f"no new folder can be made in {runs}")


def open_run(runs: Path, which: str, task: str) -> tuple[RunFolder, dict[str, Any]]:
    """The folder of a run that was begun, by its name in `runs` or its path, and what it was started with.

    Raises:
        SettingsError: there is none, or it is of another task.
    """
    path = next((one for one in (runs / which, Path(which)) if (one / "run.json").is_file()), None)
    if path is None:
        raise SettingsError("--resume", "the command line", f"there is no run {which} in {runs}")
    begun = read_json(path / "run.json")
    arguments = begun.get("arguments")
    if begun.get("task") != task or not isinstance(arguments, dict):
        raise SettingsError("--resume", "the command line", f"{path.name} is no run of {task}")
    return RunFolder(path), arguments


def check_same(folder: RunFolder, now: dict[str, Any]) -> None:
    """Keep what a run depends on, or compare with what it depended on when it began.

    Raises:
        SettingsError: something is not as it was; says what.
    """
    begun = read_json(folder.path / "run.json")
    before = begun.get("depends_on")
    if before is None:
        write_json(folder.path / "run.json", {**begun, "depends_on": now})
        return
    changed = [name for name, value in now.items() if not isinstance(before, dict) or before.get(name) != value]
    if changed:
        problem = f"since {folder.path.name} began, its {', '.join(changed)} changed: begin a new run"
        raise SettingsError("--resume", "the command line", problem)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program that was compared on all validation entries."""

    program: Any
    prompt: Prompt
    scores: Scores


class Candidates(BaseCallback):  # type: ignore[misc] # dspy ships no types
    """Sees every evaluation that DSPy makes, and keeps those on all validation entries."""

    def __init__(
        self, task: Task, validation: Sequence[Any], folder: RunFolder, lm: Any, *, stop: Event, meter: Meter
    ) -> None:
        self._task = task
        self._validation = {id(example) for example in validation}
        self._folder = folder
        self._lm = lm
        self._stop = stop
        self._meter = meter
        self._reading: set[str] = set()
        self._noted = folder.noted()
        self._running: dict[str, Any] = {}
        self._started_s = time.monotonic()
        self.found: dict[str, Candidate] = {}

    def best_beside(self, plain: Candidate) -> Candidate | None:
        """The one with the highest score that the application would use; of equals the first that was found."""
        fitting = [one for one in self.found.values() if one is not plain and self._task.fits(one.program, self._lm)]
        return max(fitting, key=lambda one: one.scores.metric, default=None)

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Remember which calls read an entry."""
        if isinstance(instance, self._task.build):
            self._reading.add(call_id)

    def on_module_end(self, call_id: str, outputs: Any | None, exception: Exception | None = None) -> None:
        """One more entry is read, or could not be."""
        if call_id in self._reading:
            self._reading.discard(call_id)
            self._meter.tick()

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Remember what is evaluated, where it is on all entries."""
        if {id(example) for example in inputs.get("devset") or instance.devset} == self._validation:
            self._running[call_id] = inputs["program"]

    def on_evaluate_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        """Keep it with its score, unless it was cut short."""
        program = self._running.pop(call_id, None)
        if program is None or outputs is None or exception is not None or self._stop.is_set():
            return
        prompt = self._task.prompt_of(program, None)
        key = hash_of(prompt)
        if key in self.found:
            return
        scores = self._task.scores_of(outputs.results)
        self.found[key] = Candidate(program.deepcopy(), prompt, scores)
        told = f"metric {scores.metric:.3f}, typed F1 {scores.typed_f1:.3f}, {len(prompt.demos)} demonstrations"
        self._meter.say(f"prompt {len(self.found)}{' (plain)' if len(self.found) == 1 else ''}: {told}")
        if key not in self._noted:
            line = {"prompt": key, "seconds": round(time.monotonic() - self._started_s, 1), **scores.model_dump()}
            self._folder.note({**line, **prompt.model_dump(mode="json", exclude={"provenance"})})


def hash_of(prompt: Prompt) -> str:
    """Tells prompts apart by what a model is told: SHA-256, hex, first 16 digits."""
    told = prompt.model_dump_json(exclude={"provenance"})
    return hashlib.sha256(told.encode()).hexdigest()[:16]

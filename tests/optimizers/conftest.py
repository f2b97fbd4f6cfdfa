"""Runs the command as a person would, with results and remembered models in a folder of the test."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from optimizers.evaluate import main
from tests.gguf_factory import write_random_llm
from tests.inference.faulty_server import FaultyServer, faulty_server

SIX = Path(__file__).parent / "data" / "six.jsonl"


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a command."""

    status: int
    out: str
    err: str
    # Results by the names of their files.
    results: dict[str, Any]


type Evaluate = Callable[..., Ran]


@pytest.fixture
def evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Runs `python -m optimizers.evaluate` in this process."""

    def run(reader: str | Path, *arguments: str | Path) -> Ran:
        out = tmp_path / "results"
        options = ["--reader", reader, *arguments, "--out", out, "--runs", tmp_path / "runs"]
        status = main([str(option) for option in options])
        said = capsys.readouterr()
        results = {path.name: json.loads(path.read_text()) for path in sorted(out.glob("*.json"))}
        return Ran(status, said.out, said.err, results)

    return run


@pytest.fixture(scope="session")
def random_llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random instruct model."""
    return write_random_llm(tmp_path_factory.mktemp("models") / "random.gguf", seed=2)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """An inference server that does what the test says."""
    with faulty_server() as running:
        yield running

"""Commands run in this process, over the real embedded server in a temporary home."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from frontend.cli.app import app

type Charlie = Callable[..., Result]
type CharlieJson = Callable[..., Any]


@pytest.fixture
def charlie(home: Path) -> Charlie:
    """Runs a command: `charlie("add", "text")`; `input=` is standard input."""
    runner = CliRunner()

    def run(*arguments: str, input: str | bytes | None = None) -> Result:
        return runner.invoke(app, arguments, input=input, prog_name="charlie")

    return run


@pytest.fixture
def charlie_json(charlie: Charlie) -> CharlieJson:
    """Runs a command with `--json` that must succeed, and parses what it prints."""

    def run(*arguments: str, input: str | bytes | None = None) -> Any:
        result = charlie(*arguments, "--json", input=input)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run

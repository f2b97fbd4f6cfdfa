"""`charlie models` as a person and as a program meets it, against a hub on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Charlie, CharlieJson
from tests.gguf_factory import write_random_llm
from tests.hub import Hub, serve_hub
from tests.terminal import Terminal

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(CHECKOUT / "charlie.py"), "models"]
SMALL, SMALL_FILE = "qwen3-0.6b", "Qwen3-0.6B-Q8_0.gguf"


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An instruct model of random weights."""
    return write_random_llm(tmp_path_factory.mktemp("llm") / "small.gguf").read_bytes()


@pytest.fixture
def hub(payload: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has it."""
    with serve_hub(payload) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield hub


def test_list_has_the_documented_fields(charlie_json: CharlieJson) -> None:
    """Names, numbers and whether it fits stand in the JSON, for what is here and for what can be fetched."""
    models = {model["name"]: model for model in charlie_json("models", "list")}
    tagger, default = models["tagger"], models["qwen3-4b-instruct-2507"]
    assert (tagger["active"], tagger["installed"], tagger["kind"]) == (True, True, "tagger")
    assert (default["active"], default["installed"], default["default"], default["path"]) == (False, False, True, None)
    assert default["need_bytes"] > default["size_bytes"] > 2**31
    assert default["fits"] == (default["need_bytes"] <= default["available_bytes"])
    assert default["fits_when_free"] == (default["need_bytes"] <= default["total_bytes"])
    assert {"family", "parameters", "context_tokens", "licence", "repository", "file", "note"} <= set(default)


def test_list_in_a_pipe_is_tabs(charlie: Charlie) -> None:
    """Each line has the same columns, apart by tabs, and nothing is cut."""
    lines = charlie("models", "list").stdout.splitlines()
    assert {line.count("\t") for line in lines} == {6}
    assert lines[0].split("\t")[:3] == ["active", "tagger", "tagger"]


@pytest.mark.parametrize("columns", [80, 120])
def test_list_on_a_terminal(home: Path, columns: int) -> None:
    """However wide it is: one line a model, names whole, the memory that there is below."""
    with Terminal([*COMMAND, "list"], env=os.environ, cwd=CHECKOUT, columns=columns, lines=30) as terminal:
        terminal.wait_for("memory are free; needs are for a context of 4,096 tokens")
        rows = terminal.text.splitlines()
    assert rows[0].split() == ["name", "kind", "size", "needs", "fits"]
    assert sum("qwen3-4b-instruct-2507" in row for row in rows) == 1
    assert next(row for row in rows if "llama-3.1" in row).split()[:4] == ["llama-3.1-8b-instruct", "llm", "4.6", "GB"]


def test_from_pull_to_rm(charlie: Charlie, charlie_json: CharlieJson, hub: Hub, home: Path) -> None:
    """Pulled, used, protected while it reads, and removed with force: what is printed and what is so agree."""
    assert charlie_json("models", "pull", SMALL)["path"] == str(home / "models" / SMALL_FILE)
    assert "is here and checked" in charlie("models", "pull", SMALL).stdout
    assert charlie_json("models", "use", SMALL)["active"]
    refused = charlie("models", "rm", SMALL)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--force" in refused.stderr
    assert charlie_json("status")["reader"] == "llm"
    assert charlie_json("models", "rm", SMALL, "--force") == {"removed": SMALL, "freed_bytes": len(hub.payload)}
    assert charlie_json("status")["reader"] == "tagger"


def test_failures_are_one_line(charlie: Charlie, hub: Hub) -> None:
    """Unknown names with the nearest, a refused and a damaged download, a model that is not here: status 1."""
    hub.sha256 = "0" * 64
    damaged = charlie("models", "pull", SMALL)
    hub.status, hub.is_gated = 403, True
    results = {
        "did you mean qwen3-0.6b": charlie("models", "pull", "qwen3-06b"),
        "another SHA-256": damaged,
        "accept its terms": charlie("models", "pull", SMALL),
        f"charlie models pull {SMALL}": charlie("models", "use", SMALL),
        "did you mean": charlie("models", "rm", "tager"),
    }
    for said, result in results.items():
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.output
        assert said in result.stderr


def test_pull_tells_nobody_and_leaves_nothing_elsewhere(hub: Hub, home: Path, tmp_path: Path) -> None:
    """No telemetry, no list of programs, no stored token; and no file outside Charlie's home."""
    person = tmp_path / "person"
    (person / ".cache/huggingface").mkdir(parents=True)
    (person / ".cache/huggingface/token").write_text("hf_stored")
    outside = {"HOME": str(person), "AI_AGENT": "something", "PATH": os.environ["PATH"], "NO_PROXY": "*"}
    inside = {name: os.environ[name] for name in ("HF_ENDPOINT", "CHARLIE_HOME")}
    done = subprocess.run([*COMMAND, "pull", SMALL], env=outside | inside, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.split("/")[-1].partition("?")[0] for _, path, _ in hub.requests} == {SMALL_FILE}
    assert not [headers for _, _, headers in hub.requests if "authorization" in headers]
    assert "something" not in json.dumps(hub.requests)
    assert [path.name for path in person.rglob("*") if path.is_file()] == ["token"]


def test_progress_on_a_terminal(hub: Hub, home: Path) -> None:
    """The bar moves while bytes come, and leaves one line that says what to do next."""
    hub.pause_s = 0.003
    env = {**os.environ}
    with Terminal([*COMMAND, "pull", SMALL], env=env, cwd=CHECKOUT, columns=100, lines=10) as terminal:
        terminal.wait_for(f"Fetching {SMALL}")
        terminal.wait_for("MB/s")
        terminal.wait_gone()
        terminal.drain(0.2)
        assert terminal.text.strip().startswith(f"{SMALL} is here and checked")
        assert f"charlie models use {SMALL}" in terminal.text
        assert terminal.text.strip().count("\n") <= 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_pull_goes_on(hub: Hub, home: Path, how: signal.Signals) -> None:
    """Ctrl-C or a kill in the middle leaves no model, and the next pull fetches only the rest."""
    hub.pause_s = 0.005
    with subprocess.Popen([*COMMAND, "pull", SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not list((home / "models").glob(".partial/*")) or not partial_size(home):
            time.sleep(0.02)
            assert process.poll() is None
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert b"Traceback" not in said
    kept = partial_size(home)
    assert 0 < kept < len(hub.payload)
    assert not list((home / "models").glob("*.gguf"))
    hub.pause_s = 0.0
    done = subprocess.run([*COMMAND, "pull", SMALL], capture_output=True, text=True, timeout=60, check=True)
    assert "is here and checked" in done.stdout
    assert hub.ranges[-1] == f"bytes={kept}-"


def partial_size(home: Path) -> int:
    """Bytes of the one unfinished download."""
    return sum(path.stat().st_size for path in (home / "models" / ".partial").glob("*"))


def test_only_pull_imports_the_hub(home: Path) -> None:
    """Listing and choosing load nothing that can reach a network hub."""
    code = (
        "import sys; from frontend.cli.app import app\n"
        "try: app(['models', 'list'], prog_name='charlie')\n"
        "except SystemExit: pass\n"
        "sys.exit('huggingface_hub' in sys.modules or 'httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert SMALL in done.stdout

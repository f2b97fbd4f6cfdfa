"""Reading through an inference server that goes wrong in every way that a test asks for."""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backend.domain import EpisodeStatus, ModelState
from backend.errors import (
    AnswerUnreadable,
    CharlieError,
    ContextOverflow,
    InferenceError,
    ReadingFailed,
    ReadingUnavailable,
    Stopped,
)
from backend.inference.chat import ChatMessage
from backend.inference.manager import ModelManager
from backend.inference.remote_offer import Form
from backend.inference.remote_text import bare, checked
from backend.services.runtime import Runtime
from backend.services.tasks import extract_nodes_task
from backend.settings import Settings, load_settings
from tests.inference.asking import KEY, MARKER, SCHEMA, TEXT, Connect, answer
from tests.inference.faulty_server import FaultyServer, completion, faulty_server
from tests.inference.llama_server import free_port


@pytest.mark.parametrize(
    ("binding", "refused", "trial_text", "form"),
    [
        ({"json_schema"}, set(), "Blue.", Form.JSON_SCHEMA),
        ({"json_object"}, {"json_schema"}, "Blue.", Form.OBJECT_WITH_SCHEMA),
        ({"json_object"}, set(), "Blue.", Form.OBJECT_WITH_SCHEMA),
        (set(), set(), '{"answer": "blue"}', Form.OBJECT),
        (set(), {"json_schema", "json_object"}, "Blue.", Form.PLAIN),
    ],
)
def test_form_is_what_binds(
    connected: Connect, faulty: FaultyServer, binding: set[str], refused: set[str], trial_text: str, form: Form
) -> None:
    """Not what a server accepts counts but what holds; where nothing does, the schema stands in the prompt."""
    faulty.binding, faulty.refused, faulty.trial_text = binding, refused, trial_text
    engine = connected(faulty)
    assert engine.form is form
    assert json.loads(answer(engine)) == {"entities": []}
    sent = faulty.asked()[-1]
    assert ("maxItems" in sent["messages"][0]["content"]) is not form.binds
    assert ("schema" in json.dumps(sent.get("response_format", {}))) is form.binds
    assert engine.n_ctx_tokens == (4096 if form.binds else 4096 - 512)


def test_forms_are_asked_for_once(connected: Connect, faulty: FaultyServer) -> None:
    """What was found out is remembered in the home, and forgotten when it does not hold any more."""
    connected(faulty).close()
    n_first = len(faulty.requests)
    again = connected(faulty)
    assert len(faulty.requests) == n_first
    faulty.refused, faulty.binding = {"json_schema"}, {"json_object"}
    assert json.loads(answer(again)) == {"entities": []}
    assert connected(faulty).form is Form.OBJECT_WITH_SCHEMA


def test_thinking_is_switched_off_or_dropped(connected: Connect, faulty: FaultyServer) -> None:
    """The template is told not to think where the server takes it; a thought is not part of the answer."""
    engine = connected(faulty)
    faulty.answer = '<think>\n{"entities": 3}\n</think>\n\n{"entities": ["Ann"]}'
    assert answer(engine) == '{"entities": ["Ann"]}'
    assert faulty.asked()[-1]["chat_template_kwargs"] == {"enable_thinking": False}
    faulty.refuses_template_options = True
    faulty.models = ["strict"]
    answer(connected(faulty))
    assert "chat_template_kwargs" not in faulty.asked()[-1]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"a": "</think>"}', '{"a": "</think>"}'),
        ('thought </think> {"a": 1}', '{"a": 1}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ("<think> without end", ""),
        ("plain words", "plain words"),
    ],
)
def test_what_stands_round_an_answer(said: str, expected: str) -> None:
    """Thoughts and fences go, what only looks like them stays."""
    assert bare(said) == expected


@pytest.mark.parametrize("text", ["", "Blue.", '{"entities": [', '{"entities": [1]}', '{"entities": [], "x": 1}', "[]"])
def test_invalid_answers(connected: Connect, faulty: FaultyServer, text: str) -> None:
    """Whatever the server claims, an answer that does not satisfy the schema is none, and is not quoted."""
    faulty.answer = text
    with pytest.raises(AnswerUnreadable) as caught:
        answer(connected(faulty))
    assert caught.value.n_chars == len(text)
    with pytest.raises(AnswerUnreadable):
        checked(text, SCHEMA)


def test_withheld_answer(connected: Connect, faulty: FaultyServer) -> None:
    """A filter's refusal is not the model's answer."""
    faulty.answer = completion("{}", "content_filter")
    with pytest.raises(AnswerUnreadable, match="withheld"):
        answer(connected(faulty))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "llm_api_key"),
        (403, "llm_api_key"),
        (404, "ends in /v1"),
        (429, "too many"),
        (302, "elsewhere"),
        (500, "500"),
        (503, "busy"),
        (418, "418"),
    ],
)
def test_statuses_on_connecting(connected: Connect, faulty: FaultyServer, status: int, words: str) -> None:
    """Each says what to do, in one line, and none follows a redirect."""
    faulty.status = status
    with pytest.raises(ReadingUnavailable, match=words) as caught:
        connected(faulty)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (500, {}, ReadingUnavailable, "500"),
        (401, {}, ReadingUnavailable, "llm_api_key"),
        (404, {"error": {"message": "model"}}, ReadingUnavailable, "serves m"),
        (400, {"error": {"code": "model_not_found"}}, ReadingUnavailable, "serves m"),
        (400, {"error": {"message": f"no {MARKER}"}}, ReadingFailed, "400"),
        (400, {"error": {"message": "maximum context length is 2048 tokens"}}, ContextOverflow, "2048"),
        (400, {"error": {"type": "exceed_context_size_error", "n_ctx": 2048}}, ContextOverflow, "2048"),
        (200, b"<html>", ReadingUnavailable, "no inference server"),
        (200, {"choices": []}, ReadingUnavailable, "no inference server"),
    ],
)
def test_statuses_of_an_answer(
    connected: Connect, faulty: FaultyServer, status: int, body: Any, kind: type[CharlieError], words: str
) -> None:
    """Retry or pause: what concerns one entry is told from what concerns all; no error quotes either side."""
    engine = connected(faulty, llm_api_key=KEY)
    faulty.answer = (status, body)
    with pytest.raises(kind, match=words) as caught:
        answer(engine)
    told = str(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert MARKER not in told
    assert KEY not in told + repr(vars(engine))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>hello</html>", "no inference server"),
        ({"hello": 1}, "no inference server"),
        ([1], "no inference server"),
        ({"object": "list", "data": []}, "no model"),
        ({"object": "list", "data": None}, "no model"),
        ({"data": [{"id": "a"}, {"id": "b\x1b[31m"}]}, "one of a, b"),
        (b"[" * 200_000, "no inference server"),
        (b" " * (9 << 20), "without end"),
    ],
    ids=["html", "other", "list", "empty", "null", "several", "nested", "endless"],
)
def test_what_is_no_usable_server(connected: Connect, faulty: FaultyServer, body: Any, words: str) -> None:
    """Something else on that port, a server without a model, and one with several, are told apart."""
    faulty.others["/v1/models"] = (200, body)
    with pytest.raises(ReadingUnavailable, match=words) as caught:
        connected(faulty)
    assert "\x1b" not in str(caught.value)


def test_tagged_names(connected: Connect, faulty: FaultyServer) -> None:
    """Ollama's names end in a tag that people leave out."""
    faulty.models = ["qwen3:latest", "qwen3:4b"]
    assert connected(faulty, llm_model="qwen3").name == "qwen3:latest"
    assert connected(faulty, llm_model="qwen3:4b").name == "qwen3:4b"


@pytest.mark.parametrize(
    ("fields", "path", "body"),
    [
        ({"max_model_len": 3000}, "", {}),
        ({"meta": {"n_ctx": 3000}}, "", {}),
        ({}, "/props", {"default_generation_settings": {"n_ctx": 3000}}),
        ({}, "/api/ps", {"models": [{"name": "m", "context_length": 3000}]}),
    ],
)
def test_the_servers_context(
    connected: Connect, faulty: FaultyServer, fields: dict[str, Any], path: str, body: Any
) -> None:
    """A context smaller than the setting's is respected wherever the server tells it; a bigger one is not taken."""
    faulty.model_fields = fields
    faulty.others[path] = (200, body)
    assert connected(faulty).n_ctx_tokens == 3000
    assert connected(faulty, n_ctx_tokens=2048).n_ctx_tokens == 2048


@pytest.mark.parametrize(("path", "body"), [("/tokenize", {"tokens": [1, 2, 3]}), ("/tokenize", {"count": 3})])
def test_counting(connected: Connect, faulty: FaultyServer, path: str, body: Any) -> None:
    """llama-server's and vLLM's counts are used; where there is none the guess is high."""
    assert not connected(faulty).counts_exactly
    assert connected(faulty).count_tokens("one two three") == 4
    faulty.others[path] = (200, body)
    engine = connected(faulty)
    assert engine.counts_exactly
    assert engine.count_tokens("whatever it is that is said here") == 3
    assert engine.count_tokens("") == 0


def test_too_long_is_not_sent(connected: Connect, faulty: FaultyServer) -> None:
    """A server that cuts off silently never gets what does not fit."""
    engine = connected(faulty)
    with pytest.raises(ContextOverflow, match="4096"):
        engine.complete([ChatMessage("user", "day " * 5000)], max_tokens=100)
    assert faulty.asked() == []


def test_nobody_listens_and_connections_break(connected: Connect, faulty: FaultyServer) -> None:
    """Both are for waiting, not for counting as the entry's failure."""
    with pytest.raises(ReadingUnavailable, match="start it"):
        connected(f"http://127.0.0.1:{free_port()}/v1")
    engine = connected(faulty)
    faulty.drops = True
    with pytest.raises(ReadingUnavailable, match="broke off") as caught:
        answer(engine)
    assert caught.value.__cause__ is None
    faulty.drops = False
    assert answer(engine)


def test_proxies_of_the_environment_are_passed_by(
    connected: Connect, faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked of this machine does not go over another one."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert answer(connected(faulty))


def test_cancel_and_close(connected: Connect, faulty: FaultyServer) -> None:
    """A request that waits ends within a second when told to, or when the engine is closed; closed means closed."""
    stop = threading.Event()
    engine = connected(faulty, stopping=stop.is_set)
    faulty.held = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        own = threading.Event()
        calls = [pool.submit(answer, engine, stopping=own.is_set), pool.submit(answer, engine)]
        time.sleep(0.3)
        for event, call in ((own, calls[0]), (stop, calls[1])):
            started_s = time.monotonic()
            event.set()
            with pytest.raises(Stopped):
                call.result(5)
            assert time.monotonic() - started_s < 1
        stop.clear()
        late = pool.submit(answer, engine)
        time.sleep(0.3)
        engine.close()
        with pytest.raises(InferenceError, match="unloaded"):
            late.result(1)
    with pytest.raises(InferenceError, match="unloaded"):
        answer(engine)
    assert engine.is_closed


def test_cancel_while_connecting(connected: Connect, faulty: FaultyServer) -> None:
    """A server that loads its model for a minute at the first question does not hold up quitting."""
    stop = threading.Event()
    faulty.held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(connected, faulty, stopping=stop.is_set)
        time.sleep(0.2)
        started_s = time.monotonic()
        stop.set()
        with pytest.raises(Stopped):
            call.result(5)
        assert time.monotonic() - started_s < 1


def test_many_threads(connected: Connect, faulty: FaultyServer) -> None:
    """Requests run side by side: together they wait once, not in turn."""
    engine = connected(faulty)
    everybody = threading.Barrier(8)

    def meet(_body: dict[str, Any]) -> tuple[int, Any]:
        everybody.wait(5)
        return completion('{"entities": []}')

    faulty.answer = meet
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _index: answer(engine), range(8)))) == 8


def test_key_is_nowhere(connected: Connect, faulty: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    """It reaches the server, and no log, no repr and no dump."""
    caplog.set_level(logging.DEBUG)
    faulty.key = KEY
    engine = connected(faulty, llm_api_key=f" {KEY}\n")
    answer(engine)
    settings = load_settings(llm_url=faulty.url, llm_api_key=KEY)
    said = caplog.text + repr(settings) + str(settings.model_dump()) + repr(engine) + repr(vars(engine))
    assert KEY not in said
    assert MARKER not in said


def test_manager_holds_a_server_like_a_model(settings: Settings, faulty: FaultyServer) -> None:
    """Ready once the server has answered, named, let go when nothing waits; a failure says why."""
    manager = ModelManager(settings.model_copy(update={"llm_url": faulty.url}), has_work=lambda: False)
    with manager.lease("llm") as lm:
        status = manager.status()
        assert (status.state, status.kind, status.context_tokens) == (ModelState.BUSY, "llm", 4096)
        assert status.name == faulty.url.removeprefix("http://").removesuffix("/v1")
        assert lm.weights == lm.engine.engine.weights
        assert lm.max_answer_tokens == 1024
    engine = lm.engine.engine
    assert manager.cleanup_if_no_work()
    assert engine.is_closed
    faulty.status = 500
    with pytest.raises(ReadingUnavailable), manager.lease("llm"):
        pass
    assert manager.status().state is ModelState.FAILED
    assert "500" in manager.problem("llm")


def test_pause_while_the_server_is_down(make_runtime: Callable[..., Runtime]) -> None:
    """Entries wait without losing a try, also when the server goes between two; they are read when it is back."""
    port = free_port()
    runtime = make_runtime(immediate=True, llm_url=f"http://127.0.0.1:{port}/v1")
    uuids = [runtime.journal.add(TEXT) for _ in range(3)]

    def read(uuid: str) -> dict[str, object]:
        # As if the wait before the next try were over.
        runtime.session.reading.use(runtime.settings)
        result: dict[str, object] = extract_nodes_task(uuid, "default").get()
        return result

    assert "start it" in str(read(uuids[0])["unavailable"])
    assert runtime.status().pending == 3
    with faulty_server(port):
        assert read(uuids[0])["episode_uuid"] == uuids[0]
        assert runtime.status().problem == ""
    assert "unavailable" in read(uuids[1])
    with faulty_server(port):
        assert [read(uuid)["episode_uuid"] for uuid in uuids[1:]] == uuids[1:]
    assert runtime.status().dead == 0


def test_a_failure_of_one_entry_is_tried_again(make_runtime: Callable[..., Runtime], faulty: FaultyServer) -> None:
    """An invalid answer counts as a try, and the next one is sampled with a new seed."""
    faulty.answer = "no JSON"
    runtime = make_runtime(immediate=True, llm_url=faulty.url)
    uuid = runtime.journal.add(TEXT)
    assert extract_nodes_task(uuid, "default").get()["retry_in_s"] == 1.0
    runtime.stores.ledger.move(uuid, EpisodeStatus.PENDING_NODES, due_at_s=0)
    faulty.answer = '{"entities": [{"surface": "Sarah Miller", "type": "Person"}]}'
    assert extract_nodes_task(uuid, "default").get()["extracted_count"] == 1
    first, *_, last = faulty.asked()
    assert (first["temperature"], last["temperature"], last["seed"]) == (0.0, 0.7, 1)

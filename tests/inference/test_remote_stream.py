"""Answers that are streamed, right and wrong."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.domain import ModelState, ModelStatus
from backend.errors import AnswerUnreadable, ContextOverflow, InferenceError, ReadingUnavailable, Stopped
from backend.inference.manager import ModelManager
from backend.inference.progress import Progress
from backend.inference.remote import connect
from backend.inference.remote_stream import EventStream, StreamGarbled
from backend.settings import Settings
from tests.inference.asking import MARKER, PROMPT, SCHEMA, Connect, answer
from tests.inference.faulty_server import DONE, FaultyServer, delta, event
from tests.waiting import until

SAID = '{"entities": ["Ann"]}'


@pytest.fixture
def streaming(faulty: FaultyServer) -> FaultyServer:
    """A server that streams."""
    faulty.streams, faulty.answer = True, SAID
    return faulty


def test_streamed_answer_is_the_answer(connected: Connect, streaming: FaultyServer) -> None:
    """Put together from its pieces, with the server's own counts; the request asked for a stream."""
    engine = connected(streaming)
    done = engine.complete(PROMPT, schema=SCHEMA, max_tokens=100)
    assert (done.text, done.n_prompt, done.n_generated) == (SAID, 21, 7)
    sent = streaming.asked()[-1]
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})
    assert engine.progress is None


def test_a_server_that_does_not_stream(connected: Connect, faulty: FaultyServer) -> None:
    """One that ignores the wish answers in one piece; one that refuses it is asked again, and not a third time."""
    faulty.answer = SAID
    assert answer(connected(faulty)) == SAID
    assert len(faulty.asked()) == 1
    faulty.refuses_streams = True
    engine = connected(faulty)
    assert [answer(engine), answer(engine)] == [SAID, SAID]
    assert [body["stream"] for body in faulty.asked()[1:]] == [True, False, False]
    assert answer(connected(faulty)) == SAID
    assert not faulty.asked()[-1]["stream"]


@pytest.mark.parametrize(
    ("events", "kind", "words"),
    [
        ([delta('{"enti')], ReadingUnavailable, "broke off"),
        ([delta('{"enti'), b'data: {"choi'], ReadingUnavailable, "broke off"),
        ([delta("{"), b"<html>busy</html>\n"], ReadingUnavailable, "no stream of events"),
        ([delta("{"), b"data: {broken\n\n"], ReadingUnavailable, "no stream of events"),
        ([delta("{"), b"data: [1]\n\n"], ReadingUnavailable, "no stream of events"),
        ([delta("{"), b"data: " + b"[" * 200_000 + b"\n\n"], ReadingUnavailable, "no stream of events"),
        ([delta("{"), b"data: \xff\xfe\n\n"], ReadingUnavailable, "no stream of events"),
        ([delta("{"), event(error={"message": MARKER, "code": 500})], ReadingUnavailable, "500"),
        ([event(error={"message": "context size is 2048", "code": 400})], ContextOverflow, "2048"),
        ([event(error="busy")], ReadingUnavailable, "500"),
        ([delta("{"), delta(None, "length"), DONE], AnswerUnreadable, "limit"),
        ([delta("{"), delta(None, "stop"), DONE], AnswerUnreadable, "not JSON"),
    ],
    ids=[
        "lost",
        "lost in an event",
        "html",
        "no JSON",
        "other",
        "nested",
        "no text",
        "error",
        "overflow",
        "odd error",
        "length",
        "not JSON",
    ],
)
def test_streams_that_go_wrong(
    connected: Connect, streaming: FaultyServer, events: list[bytes], kind: type[InferenceError], words: str
) -> None:
    """Half an answer is none: a lost connection and garbage pause the reading, in one line that quotes nothing."""
    engine = connected(streaming)
    streaming.events = events
    with pytest.raises(kind, match=words) as caught:
        answer(engine)
    assert "\n" not in str(caught.value)
    assert MARKER not in str(caught.value) + repr(caught.value.__cause__)
    assert len(streaming.asked()) == 1
    streaming.events = None
    assert answer(engine) == SAID


def test_trouble_is_no_want_of_streams(connected: Connect, streaming: FaultyServer) -> None:
    """Where the answer in one piece fails too, nothing is known of streams, and they are asked for again."""
    engine = connected(streaming)
    streaming.answer = lambda body: (400 if body["stream"] else 503, {"error": {"message": "no"}})
    with pytest.raises(ReadingUnavailable, match="503"):
        answer(engine)
    streaming.answer = SAID
    assert answer(engine) == SAID
    assert [body["stream"] for body in streaming.asked()] == [True, False, True]


def test_a_stream_that_ends_before_it_began(connected: Connect, streaming: FaultyServer) -> None:
    """So llama_cpp.server refuses: it is asked in one piece why, and streams are asked for again."""
    engine = connected(streaming)
    streaming.events = []

    def refuse(body: dict[str, object]) -> tuple[int, object]:
        overflow = (400, {"error": {"message": "maximum context length is 2048 tokens"}})
        return (200, {}) if body["stream"] else overflow

    streaming.answer = refuse
    with pytest.raises(InferenceError, match="2048"):
        answer(engine)
    streaming.events, streaming.answer = None, SAID
    assert answer(engine) == SAID
    assert [body["stream"] for body in streaming.asked()] == [True, False, True]


def test_a_stream_that_another_drove_out(connected: Connect, streaming: FaultyServer) -> None:
    """It ends in order and its answer does not: the answer is asked for in one piece, now and from now on."""
    engine = connected(streaming)
    streaming.events = [delta('{"enti'), DONE]
    assert [answer(engine), answer(engine)] == [SAID, SAID]
    assert [body["stream"] for body in streaming.asked()] == [True, False, False]


def test_cancelling_hangs_up(connected: Connect, streaming: FaultyServer) -> None:
    """The connection of a request that is not wanted any more is closed, so that the server can stop."""
    streaming.event_pause_s = 0.05
    engine = connected(streaming)
    streaming.events = [delta("word ")] * 2000
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(answer, engine, stopping=stop.is_set)
        assert until(lambda: streaming.n_events > 3)
        stop.set()
        assert isinstance(call.exception(timeout=1), Stopped)
    assert until(lambda: streaming.was_hung_up, 2)
    assert streaming.n_events < 200


def test_a_listener_that_fails_hangs_up(settings: Settings, streaming: FaultyServer) -> None:
    """Who waits gets what it raises, and the server is not left to write on."""
    streaming.event_pause_s = 0.05

    def listen(_progress: Progress) -> None:
        raise RuntimeError("no ear")

    engine = connect(settings.model_copy(update={"llm_url": streaming.url}), on_progress=listen)
    streaming.events = [delta("word ")] * 2000
    with pytest.raises(RuntimeError, match="no ear"):
        answer(engine)
    assert until(lambda: streaming.was_hung_up, 2)
    assert engine.progress is None
    engine.close()


def test_progress_of_streams(settings: Settings, streaming: FaultyServer) -> None:
    """While they come, tokens and their speed are in the status, a few times a second; afterwards nothing is."""
    streaming.event_pause_s = 0.03
    seen: list[tuple[float, ModelStatus]] = []
    manager = ModelManager(
        settings.model_copy(update={"llm_url": streaming.url}),
        has_work=lambda: False,
        on_change=lambda status: seen.append((time.monotonic(), status)),
    )
    with manager.lease("llm") as lm, ThreadPoolExecutor(2) as pool:
        streaming.events = [delta("word ")] * 50 + [delta(None, "stop"), DONE]
        assert len(list(pool.map(lambda _n: answer(lm.engine.engine, schema=None), range(2)))) == 2
        assert manager.status().prompt_progress is None
        assert lm.engine.engine.totals.tokens_generated == 100
    told = [status for _, status in seen if status.answer_tokens]
    assert told
    assert told[-1].state is ModelState.BUSY
    assert 10 < told[-1].tokens_per_s < 100
    assert len(told) <= 6
    assert manager.unload_all()


def test_lines_may_be_cut_anywhere() -> None:
    """Byte by byte or all at once, with any line ending, thoughts apart: the same answer."""
    thought = event(choices=[{"delta": {"reasoning_content": "hm"}}])
    data = b": comment\r\nevent: message\nid: 1\n" + thought + delta("na\u00efve ") + delta("Ann", "stop") + DONE
    counted: list[int] = []
    whole, cut = EventStream(counted.append), EventStream()
    whole.feed(data)
    for at in range(len(data)):
        cut.feed(data[at : at + 1])
    for stream in (whole, cut):
        assert stream.is_whole
        assert json.dumps(stream.completion()["choices"][0]["message"]) == json.dumps({"content": "na\u00efve Ann"})
    assert counted == [1, 2, 3]
    alone = EventStream()
    alone.feed(delta("Ann", "stop") + event(usage={"completion_tokens": 1}) + DONE)
    assert alone.completion()["usage"] == {"completion_tokens": 1}
    with pytest.raises(StreamGarbled) as caught:
        EventStream().feed(b"Dear diary\n")
    assert "diary" not in str(caught.value) + repr(caught.value.__context__)

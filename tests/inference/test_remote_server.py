"""Reading through a real inference server: llama_cpp.server over a model of random weights."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backend.domain import EpisodeStatus
from backend.errors import AnswerUnreadable, ContextOverflow, ReadingUnavailable, Stopped
from backend.inference.chat import ChatMessage
from backend.inference.remote_offer import Form
from backend.inference.remote_text import most_tokens
from backend.services.runtime import Runtime
from backend.services.tasks import extract_nodes_task
from tests.gguf_factory import write_random_llm
from tests.inference.asking import KEY, MARKER, PROMPT, SCHEMA, TEXT, Connect, answer
from tests.inference.llama_server import llama_server
from tests.waiting import until


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that finds nothing in TEXT, and says so in nine tokens."""
    return write_random_llm(tmp_path_factory.mktemp("remote") / "random.gguf", seed=2)


@pytest.fixture(scope="session")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server prints."""
    return tmp_path_factory.mktemp("server") / "log"


@pytest.fixture(scope="session")
def real_url(gguf: Path, server_log: Path) -> Iterator[str]:
    """llama_cpp.server over it, for the whole session."""
    with llama_server(gguf, server_log, alias="random", key=KEY, n_ctx_tokens=8192) as url:
        yield url


def test_real_server(connected: Connect, real_url: str) -> None:
    """llama_cpp.server binds by `json_object` with a schema and counts tokens; both are found out by asking."""
    engine = connected(real_url, llm_api_key=KEY)
    assert (engine.name, engine.form, engine.counts_exactly) == ("random", Form.OBJECT_WITH_SCHEMA, True)
    assert len(engine.weights) == 16
    done = engine.complete(PROMPT, schema=SCHEMA, max_tokens=200)
    assert set(json.loads(done.text)) == {"entities"}
    assert done.n_prompt > 10
    assert done.n_generated > 3


def test_real_limits(connected: Connect, real_url: str) -> None:
    """A cut-off answer and a prompt that is too long are errors, before and after the server has said so."""
    engine = connected(real_url, llm_api_key=KEY, n_ctx_tokens=100_000)
    with pytest.raises(AnswerUnreadable, match="limit of 3 tokens"):
        answer(engine, max_tokens=3)
    long = [ChatMessage("user", f"{MARKER} " * 3000)]
    with pytest.raises(ContextOverflow, match="8192"):
        engine.complete(long, schema=SCHEMA, max_tokens=100)
    assert engine.n_ctx_tokens == 8192
    with pytest.raises(ContextOverflow) as caught:
        engine.complete(long, schema=SCHEMA, max_tokens=100)
    assert caught.value.n_tokens > 8192
    assert MARKER not in str(caught.value)


def test_real_key_and_model(connected: Connect, real_url: str) -> None:
    """A refused key says which setting to change, a wrong model which ones there are."""
    with pytest.raises(ReadingUnavailable, match="llm_api_key"):
        connected(real_url)
    with pytest.raises(ReadingUnavailable, match="it serves random"):
        connected(real_url, llm_api_key=KEY, llm_model="qwen")


def test_real_entry(
    make_runtime: Callable[..., Runtime], real_url: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """A whole entry through the Runtime, with nothing but the environment set."""
    monkeypatch.setenv("CHARLIE_LLM_URL", real_url)
    monkeypatch.setenv("CHARLIE_LLM_API_KEY", KEY)
    runtime = make_runtime(immediate=True)
    uuid = runtime.journal.add(TEXT, valid_at=datetime(2024, 3, 15, tzinfo=UTC))
    assert extract_nodes_task(uuid, "default").get()["episode_uuid"] == uuid
    assert runtime.journal.status_of(uuid) is EpisodeStatus.DONE
    assert runtime.status().reader == "llm"
    assert KEY.encode() not in b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_estimate_is_never_too_low(connected: Connect, real_url: str) -> None:
    """Against a real vocabulary: prose, other scripts, keys, numbers, white space and pictures."""
    count = connected(real_url, llm_api_key=KEY).count_tokens
    texts = [
        TEXT,
        "Donaudampfschifffahrtsgesellschaft; antidisestablishmentarianism",
        "xq jvkz qwrtpsdf ZXCVB kjhgfdsa bvncmxqwrtyplkjhgfdsazxcv",
        "Я встретил Анну. 今日は東京で会った。 مرحبا 🎉👩‍👩‍👧 ﷽ 𝐹𝐹",
        "2024-03-15 21:00 +351 912 345 678; 3.14159265358979",
        "a\n\n\n\n\t b    c \r\n --- *** ___ ==",
        "https://example.org/a1B2c3?x=%20&y=#z  sk-AbCdEfGhIjKlMnOpQrStUvWx",
    ]
    for text in texts:
        assert count(text) <= most_tokens(text)
    english = "On Sunday we walked along the river to the old mill, and Tom told me about his new job in Oslo. " * 5
    assert most_tokens(english) < 2 * count(english)


def test_real_stream_is_told_and_stopped(connected: Connect, real_url: str, server_log: Path) -> None:
    """While it answers its speed is known; when told to stop it stops, with nobody else asking for anything."""
    engine = connected(real_url, llm_api_key=KEY)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        n_hung_up = server_log.read_bytes().count(b"Disconnected from client")
        call = pool.submit(engine.complete, PROMPT, max_tokens=3900, stopping=stop.is_set)
        assert until(lambda: (told := engine.progress) is not None and told.n_generated > 3 and told.tokens_per_s > 0)
        stop.set()
        assert isinstance(call.exception(timeout=2), Stopped)
    assert engine.progress is None
    assert until(lambda: server_log.read_bytes().count(b"Disconnected from client") > n_hung_up, 5)
    assert set(json.loads(answer(engine))) == {"entities"}


def test_real_server_drives_out_streams(connected: Connect, real_url: str, home: Path) -> None:
    """One at a time, and a new request ends a streamed one: each of several still gets its answer, in one piece."""
    engine = connected(real_url, llm_api_key=KEY)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _number: answer(engine), range(6)))
    assert len(set(answers)) == 1
    assert set(json.loads(answers[0])) == {"entities"}
    totals = engine.totals
    assert totals.tokens_generated >= 6 * 3
    assert totals.tokens_prompt > 6 * 10

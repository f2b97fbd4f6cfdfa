"""Models for the tests: the shipped ones, and random-weight ones written once a session."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.inference.engine import Engine
from backend.inference.loader import LoadedModel, load_model
from backend.inference.remote import RemoteEngine, connect
from backend.inference.tagger import Tagger
from backend.settings import EMBEDDING_PATH, TAGGER_HEAD_PATH, TAGGER_PATH, Settings, load_settings
from tests.gguf_factory import write_random_llm
from tests.inference.asking import Connect
from tests.inference.faulty_server import FaultyServer, faulty_server


@pytest.fixture(scope="session")
def f16_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random instruct model in F16."""
    return write_random_llm(tmp_path_factory.mktemp("models") / "random.f16.gguf", quant="f16")


@pytest.fixture(scope="session")
def q8_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random instruct model in Q8_0."""
    return write_random_llm(tmp_path_factory.mktemp("models") / "random.q8_0.gguf", quant="q8_0")


@pytest.fixture(scope="session")
def llm(f16_path: Path) -> Iterator[LoadedModel]:
    """The F16 model, loaded."""
    model = load_model(f16_path, kind="llm", n_ctx_tokens=8192, n_threads=1)
    yield model
    model.close()


@pytest.fixture
def fresh_llm(f16_path: Path) -> Iterator[LoadedModel]:
    """The F16 model, loaded for one test, with no engine yet."""
    model = load_model(f16_path, kind="llm", n_ctx_tokens=2048, n_threads=1)
    yield model
    model.close()


@pytest.fixture(scope="session")
def engine(llm: LoadedModel) -> Engine:
    """An engine over the F16 model."""
    return Engine(llm)


@pytest.fixture(scope="session")
def tagger() -> Iterator[Tagger]:
    """The shipped tagger."""
    model = load_model(TAGGER_PATH, kind="tagger", n_ctx_tokens=512, n_threads=1)
    yield Tagger(model, TAGGER_HEAD_PATH)
    model.close()


@pytest.fixture(scope="session")
def minilm() -> Iterator[LoadedModel]:
    """The shipped embedding model, loaded."""
    model = load_model(EMBEDDING_PATH, kind="embedding", n_ctx_tokens=512, n_threads=1)
    yield model
    model.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home of its own."""
    return load_settings(home=tmp_path)


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    """A server that does what the test says."""
    with faulty_server() as server:
        yield server


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Connect]:
    """Connects to a server, and closes it afterwards."""
    opened: list[RemoteEngine] = []

    def make(server: FaultyServer | str, **options: Any) -> RemoteEngine:
        stopping = options.pop("stopping", lambda: False)
        url = server if isinstance(server, str) else server.url
        opened.append(connect(load_settings(home=tmp_path, llm_url=url, **options), stopping=stopping))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()
        engine.close()

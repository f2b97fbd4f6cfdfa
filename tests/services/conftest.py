"""The journal of a fresh home, and instruct models of random weights, written once a session."""

from pathlib import Path

import pytest

from backend.database.stores import Stores
from backend.services.journal import JournalService
from backend.services.runtime import Runtime
from tests.gguf_factory import write_random_llm


@pytest.fixture(scope="session")
def llm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model: it answers in the schema, with nothing that is in the entry."""
    return write_random_llm(tmp_path_factory.mktemp("llm") / "small.gguf")


@pytest.fixture(scope="session")
def wordy_llm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose template alone is longer than its context: no entry can be read with it."""
    template = "{{ 'word ' * 9000 }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    return write_random_llm(tmp_path_factory.mktemp("llm") / "wordy.gguf", chat_template=template)


@pytest.fixture(scope="session")
def slow_llm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes many seconds for an entry: time to be interrupted."""
    path = tmp_path_factory.mktemp("llm") / "slow.gguf"
    return write_random_llm(path, n_layers=16, n_embd=512, n_heads=8, n_heads_kv=8, n_ff=2048)


@pytest.fixture
def journal(runtime_immediate: Runtime) -> JournalService:
    """The service over a fresh home; nothing is read unless a test does it."""
    return runtime_immediate.journal


@pytest.fixture
def stores(runtime_immediate: Runtime) -> Stores:
    """What lies under it."""
    return runtime_immediate.stores

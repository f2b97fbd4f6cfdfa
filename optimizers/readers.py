"""Opens whatever can read an entry, by the application's own loader: the shipped tagger, a weights file, a server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backend.errors import WeightsMissing, WeightsUnusable
from backend.graph.extract_nodes import Reader
from backend.graph.split import TextLimit
from backend.inference.gguf_header import read_header
from backend.inference.loader import ENCODERS, load_model
from backend.inference.loading import ModelLoader
from backend.settings import TAGGER_PATH, Settings, load_settings
from optimizers.command_line import is_url

TAGGER: Final = "tagger"
# Tokens that a tagger's context has, and threads that read: as the application loads the shipped one.
_TAGGER_TOKENS: Final = 512
_TAGGER_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class OpenReader:
    """A reader that is loaded, and what is worth knowing of it."""

    # Short: "tagger", the stem of a file, a server's name of its model.
    name: str
    reader: Reader
    # None where it takes any length.
    limit: TextLimit | None
    # Texts that it reads together.
    n_parallel: int
    # Its weights; None behind a server.
    path: Path | None
    # Texts that stand in its prompt, with what is to be found in them.
    demonstrated: frozenset[str] = frozenset()


@contextmanager
def open_reader(
    which: str,
    *,
    model: str | None = None,
    runs: Path,
    stopping: Callable[[], bool] = lambda: False,
    on_loading: Callable[[float], None] = lambda _done: None,
) -> Iterator[OpenReader]:
    """The reader that `which` names, for as long as the block lasts.

    `which` is "tagger", the path of a GGUF file (a tagger's has its head beside it, as NAME.head.npz), or the URL of an
    OpenAI-compatible server, whose model `model` names where it serves several. `runs` is a folder where what was found
    out about models is kept. The application's settings count where they are in the environment (`CHARLIE_*`).

    Raises:
        SettingsError: a setting or the URL cannot be used.
        ReadingUnavailable: no such file, no model, too large, or the server does not answer.
    """

    def progressed(done: float) -> bool:
        on_loading(done)
        return not stopping()

    is_server = is_url(which)
    path = None if is_server or which == TAGGER else Path(which)
    if path is not None and _is_encoder(path):
        with _open_tagger(path, progressed) as opened:
            yield opened
        return
    chosen: dict[str, Any] = {"llm_url": which if is_server else None, "llm_path": path}
    if model is not None:
        chosen["llm_model"] = model
    settings = load_settings(home=runs.absolute(), **chosen)
    if path is None and not is_server:
        with _open_shipped(settings, stopping, progressed) as opened:
            yield opened
        return
    with _open_llm(settings, stopping, progressed, path) as opened:
        yield opened


def _is_encoder(path: Path) -> bool:
    if not path.is_file():
        raise WeightsMissing(path)
    return read_header(path).architecture in ENCODERS


@contextmanager
def _open_shipped(
    settings: Settings, stopping: Callable[[], bool], progressed: Callable[[float], bool]
) -> Iterator[OpenReader]:
    loaded = ModelLoader(settings, stopping).load("tagger", progressed)
    try:
        yield OpenReader(TAGGER, loaded.reader, None, 1, TAGGER_PATH)
    finally:
        loaded.model.close()


@contextmanager
def _open_tagger(path: Path, progressed: Callable[[float], bool]) -> Iterator[OpenReader]:
    from backend.inference.tagger import Tagger  # numpy: 0.05 s and 11 MB

    head = path.with_name(path.name.split(".")[0] + ".head.npz")
    if not head.exists():
        raise WeightsUnusable(path, f"it is an encoder, and there is no {head.name} beside it")
    model = load_model(
        path, kind="tagger", n_ctx_tokens=_TAGGER_TOKENS, n_threads=_TAGGER_THREADS, on_progress=progressed
    )
    try:
        yield OpenReader(_own(path.name.split(".")[0]), Tagger(model, head), None, 1, path)
    finally:
        model.close()


@contextmanager
def _open_llm(
    settings: Settings, stopping: Callable[[], bool], progressed: Callable[[float], bool], path: Path | None
) -> Iterator[OpenReader]:
    from backend.graph.llm_reader import LlmReader  # dspy: 0.6 s and 49 MB

    loaded = ModelLoader(settings, stopping).load("llm", progressed)
    try:
        lm = loaded.reader
        reader = LlmReader(lm, lm.weights)
        name = path.stem if path else lm.model.removeprefix("charlie/")
        demonstrated = frozenset(demo.entry for demo in reader.prompt.prompt.demos)
        yield OpenReader(_own(name), reader, reader.limit, loaded.n_parallel, path, demonstrated)
    finally:
        loaded.model.close()


def _own(name: str) -> str:
    """The name of a model that does not ship: its results are not those of the one that does."""
    return name if name != TAGGER else f"{name}-own"

"""Opens the models of an optimizer run by the application's own loader, and keeps every answer in the run's folder."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dspy
from dspy import lm15

from backend.errors import AnswerUnreadable, ContextOverflow, ReadingUnavailable, Stopped
from backend.inference.dspy_lm import DspyLM, LlamaEngine, quiet_dspy
from backend.inference.loading import ModelLoader
from backend.settings import load_settings
from optimizers.command_line import is_url

# Answers that a run keeps at most, bytes; the oldest go first.
_CACHE_BYTES: Final = 4 << 30


class RunEnded(BaseException):
    """The run cannot or shall not go on; `cause` says why.

    No Exception, because DSPy's optimizers take every Exception for a bad candidate: with a server that is down they
    would score all that is left with 0, and choose among the zeros.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Student:
    """A model of a run: the one that is to read better, or the one that teaches it."""

    # A `dspy.LM`.
    lm: Any
    # Stem of the file, or the server's name of its model.
    name: str
    # See `Provenance`.
    weights: str
    # Texts that it reads together.
    n_parallel: int = 1


class Tally:
    """Answers that a run asked for; of many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        # Asked for; and those of them that a model was set to work for.
        self.n_asked = 0
        self.n_made = 0
        # Why nothing more is to be asked: what DSPy's threads have still before them ends at once.
        self.ended: Exception | None = None

    @property
    def n_kept(self) -> int:
        """Answers that were there already."""
        return self.n_asked - self.n_made

    def ask(self) -> None:
        """One more is asked for."""
        with self._lock:
            self.n_asked += 1

    def make(self) -> None:
        """One more is made."""
        with self._lock:
            self.n_made += 1

    def turn(self, key: str) -> threading.Lock:
        """Held while a question is answered, so that nobody makes the same answer beside it.

        `dspy.Evaluate` asks again for what takes over two minutes, as answers of a model on this machine do.
        """
        with self._lock:
            return self._turns.setdefault(key, threading.Lock())


class _CountedEngine(LlamaEngine):
    """The application's engine, with a count of what it was set to work for."""

    def __init__(self, engine: LlamaEngine, tally: Tally) -> None:
        super().__init__(engine.engine, engine.name, engine.max_answer_tokens)
        self._tally = tally

    def complete(self, request: lm15.Request) -> lm15.Response:
        self._tally.make()
        return super().complete(request)


class RunLM(DspyLM):
    """The application's language model; answers are kept in DSPy's cache, failed ones too, and sampled by the seed."""

    def __init__(self, lm: DspyLM, *, seed: int, tally: Tally) -> None:
        # The cache tells models apart by their names, and two may have the same.
        name = f"{lm.model}@{lm.weights}"
        super().__init__(name, engine=_CountedEngine(lm.engine, tally), weights=lm.weights, cache=True)
        self._seed = seed
        self._tally = tally

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Answer as `DspyLM` does; what failed once fails again at once.

        Raises:
            RunEnded: the run was stopped, or the model cannot answer any more.
            ReadingFailed: this answer could not be made.
        """
        # The engine samples by the seed alone, and another rollout is meant to be another answer.
        rollout = options.get("rollout_id", self.kwargs.get("rollout_id")) or 0
        options.setdefault("seed", (self._seed * 1_000_003 + rollout) % 2**31)
        question = [self.model, args, options.get("messages"), options["seed"], options.get("temperature")]
        key = hashlib.sha256(repr([*question, sorted(self.kwargs.items())]).encode()).hexdigest()
        self._tally.ask()
        with self._tally.turn(key):
            if self._tally.ended is not None:
                raise RunEnded(self._tally.ended)
            failed = dspy.cache.get({"failed": key})
            if failed is not None:
                raise AnswerUnreadable(failed["n_chars"], "failed before")
            try:
                return super().__call__(*args, **options)
            except (Stopped, ReadingUnavailable) as error:
                self._tally.ended = error
                raise RunEnded(error) from None
            except (AnswerUnreadable, ContextOverflow) as error:
                dspy.cache.put({"failed": key}, {"n_chars": getattr(error, "n_chars", 0)})
                raise


@contextmanager
def answers_kept(folder: Path) -> Iterator[None]:
    """Keep DSPy's answers in `folder` as long as the block lasts, and nowhere after it; models are opened before it.

    Nobody but its owner may look into the folder.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    # Not in memory too: the disk answers in 0.1 ms.
    dspy.configure_cache(
        enable_disk_cache=True,
        enable_memory_cache=False,
        disk_cache_dir=str(folder),
        disk_size_limit_bytes=_CACHE_BYTES,
        # The folder of a run that somebody else made holds no code.
        restrict_pickle=True,
    )
    dspy.disable_logging()
    try:
        yield
    finally:
        dspy.cache.disk_cache.close()
        quiet_dspy()


@contextmanager
def open_student(
    which: str,
    *,
    model: str | None,
    runs: Path,
    threads: int | None,
    stopping: Callable[[], bool] = lambda: False,
    on_loading: Callable[[float], None] = lambda _done: None,
) -> Iterator[Student]:
    """The model that `which` names, for as long as the block lasts: a GGUF file, or the URL of a server.

    `runs` is a folder where what was found out about models is kept. The application's settings count where they are in
    the environment (`CHARLIE_*`); `threads` texts are read together, or as many as the settings say.

    Raises:
        SettingsError: a setting or the URL cannot be used.
        ReadingUnavailable: no such file, no model, too large, or the server does not answer.
        Stopped: `stopping` said so.
    """
    is_server = is_url(which)
    path = None if is_server else Path(which)
    chosen: dict[str, Any] = {"llm_url": which if is_server else None, "llm_path": path}
    chosen |= {"llm_model": model} if model is not None else {}
    chosen |= {"n_parallel": threads} if threads is not None else {}
    settings = load_settings(home=runs.absolute(), **chosen)

    def progressed(done: float) -> bool:
        on_loading(done)
        return not stopping()

    loaded = ModelLoader(settings, stopping).load("llm", progressed)
    try:
        lm: DspyLM = loaded.reader
        name = path.stem if path else lm.model.removeprefix("charlie/")
        yield Student(lm, name, lm.weights, loaded.n_parallel)
    finally:
        loaded.model.close()

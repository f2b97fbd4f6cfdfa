"""Builds what the manager hands out, by kind: checks that it fits, tries it in a child, loads it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from backend.domain import TokenCounts
from backend.errors import CharlieError, ModelTooLarge, WeightsMissing
from backend.inference.gguf_header import Header, read_header
from backend.inference.loader import N_BATCH, Kind, LoadedModel, LoadSettings, check_kind, load_model
from backend.inference.memory import available_bytes, longest_context, need_bytes
from backend.inference.probe import Prober
from backend.inference.progress import Progress
from backend.inference.weights import fingerprint
from backend.settings import EMBEDDING_PATH, TAGGER_HEAD_PATH, TAGGER_PATH, Settings

if TYPE_CHECKING:
    from backend.inference.remote import RemoteEngine

# The small models read so little at a time that all cores together get it over with; more than four gain nothing.
_MOST_SMALL_THREADS: Final = 4
# A context in which most entries are read whole.
_ORDINARY_TOKENS: Final = 4096


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and the object that reads with it."""

    # Tagger, DspyLM, Embedder or Reranker.
    reader: Any
    model: "LoadedModel | RemoteEngine"
    # Settings it was loaded by; others mean that it is stale.
    made_for: tuple[object, ...]
    # Texts it reads together.
    n_parallel: int = 1

    def count_tokens(self) -> TokenCounts:
        """What it has read and written; nothing is counted of the small models."""
        totals = getattr(self._engine, "totals", None)
        if totals is None:
            return TokenCounts()
        return TokenCounts(totals.tokens_prompt, totals.tokens_reused, totals.tokens_generated)

    def progress(self) -> Progress | None:
        """How far what it reads is; None for a small model, and while nothing is in work."""
        return getattr(self._engine, "progress", None)

    @property
    def _engine(self) -> Any:
        return getattr(getattr(self.reader, "engine", None), "engine", None)


def model_path(settings: Settings, kind: Kind) -> Path | None:
    """The weights that serve as `kind`; None where no LLM or reranker has been chosen."""
    paths: dict[Kind, Path | None] = {
        "llm": settings.llm_path,
        "tagger": TAGGER_PATH,
        "embedding": settings.embedding_path or EMBEDDING_PATH,
        "reranker": settings.reranker_path,
    }
    return paths[kind]


def model_size_bytes(settings: Settings, kind: Kind) -> int:
    """Of the file that serves as `kind`; 0 where there is none."""
    path = model_path(settings, kind)
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


def model_need_bytes(settings: Settings, header: Header, kind: str, n_sequences: int) -> int:
    """Memory that a model with this header takes as `kind` while it has `n_sequences` texts in work."""
    is_llm = kind == "llm"
    # Every text that an instruct model has in work has keys and values of its own.
    n_ctx_tokens = settings.n_ctx_tokens * n_sequences if is_llm else N_BATCH
    return need_bytes(header, n_ctx_tokens=n_ctx_tokens, n_batch=N_BATCH, writes_answers=is_llm)


def fitting_sequences(settings: Settings, header: Header, kind: str, available: int) -> int:
    """How many texts at once there is memory for, as many as is set at most; 0 where not even one fits.

    An encoder's buffers are the same for all of them: 1 or 0.
    """
    most = settings.n_parallel if kind == "llm" else 1
    fitting = (n for n in range(most, 0, -1) if model_need_bytes(settings, header, kind, n) <= available)
    return next(fitting, 0)


def model_name(settings: Settings, kind: Kind) -> str:
    """What to call the model that serves as `kind`: its file, or the one asked of a server; empty without one."""
    if kind == "llm" and settings.llm_url is not None:
        return settings.llm_model or urlsplit(settings.llm_url).netloc
    path = model_path(settings, kind)
    return path.name if path else ""


class ModelLoader:
    """Loads by the settings; keeps nothing."""

    def __init__(
        self,
        settings: Settings,
        stopping: Callable[[], bool] = lambda: False,
        available_bytes: Callable[[], int] = available_bytes,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """`on_progress` hears of what a loaded instruct model has in work, a few times a second (see `Engine`)."""
        self._available_bytes = available_bytes
        self._on_progress = on_progress
        self._settings = settings
        self._stopping = stopping

    def key(self, kind: Kind) -> tuple[object, ...]:
        """What makes a model of this kind the one that the settings ask for."""
        chosen = self._settings
        if kind != "llm":
            return (model_path(chosen, kind),)
        if chosen.llm_url is not None:
            server = (chosen.llm_url, chosen.llm_model, chosen.llm_api_key)
            return (*server, chosen.n_ctx_tokens, chosen.n_parallel, chosen.max_answer_tokens)
        sizes = (chosen.n_ctx_tokens, chosen.n_parallel, chosen.max_answer_tokens)
        return (chosen.llm_path, *sizes, chosen.n_threads, chosen.n_gpu_layers)

    def need_bytes(self, kind: Kind) -> int:
        """Memory that a model of `kind` would take, from its header alone; 0 on a server. Raises as `load` does."""
        if kind == "llm" and self._settings.llm_url is not None:
            return 0
        return model_need_bytes(self._settings, self._header(kind), kind, self._settings.n_parallel)

    def _header(self, kind: Kind) -> Header:
        path = self._path(kind)
        header = read_header(path)
        check_kind(path, header, kind)
        return header

    def _fitting(self, kind: Kind) -> LoadSettings:
        """As many texts at once as there is memory for, one at least. Raises ModelTooLarge when not even that fits."""
        wanted, header, available = self._wanted(kind), self._header(kind), self._available_bytes()
        n_sequences = fitting_sequences(self._settings, header, kind, available)
        if self._settings.memory_override:
            return wanted
        if n_sequences:
            return replace(wanted, n_sequences=n_sequences)
        need, advice = model_need_bytes(self._settings, header, kind, 1), ""
        if kind == "llm":
            advice = self._advice(header, available)
        raise ModelTooLarge(self._path(kind).name, need, available, advice)

    def _advice(self, header: Header, available: int) -> str:
        """What would fit in place of the chosen model: itself with less context, or a listed one; empty for nothing."""
        wanted = self._settings.n_ctx_tokens
        n_tokens = longest_context(header, wanted, n_batch=N_BATCH, available_bytes=available)
        shorter = f"set n_ctx_tokens = {n_tokens} with which it fits" if n_tokens else ""
        return " or ".join(filter(None, (shorter, largest_listed(wanted, available))))

    def load(self, kind: Kind, on_progress: Callable[[float], bool]) -> Loaded:
        """A model of `kind`; the caller closes it.

        Raises:
            WeightsMissing, WeightsUnusable: see `load_model`.
            ModelTooLarge: it needs more than is available, and the settings do not say to try all the same.
            ReadingUnavailable: see `remote.connect`, where `llm_url` is set.
            Stopped: `stopping` or `on_progress` said so.
        """
        if kind == "llm" and self._settings.llm_url is not None:
            return self._connect()
        wanted = self.try_out(kind)
        model = load_model(
            self._path(kind),
            kind=kind,
            n_ctx_tokens=wanted.n_ctx_tokens,
            n_threads=wanted.n_threads,
            n_gpu_layers=wanted.n_gpu_layers,
            use_extra_bufts=wanted.use_extra_bufts,
            n_sequences=wanted.n_sequences if kind == "llm" else None,
            on_progress=on_progress,
        )
        try:
            return Loaded(self._reader(kind, model), model, self.key(kind), wanted.n_sequences)
        except BaseException:
            model.close()
            raise

    def try_out(self, kind: Kind) -> LoadSettings:
        """The settings that work for the chosen file, found out in a child where nobody knows yet; raises as `load`."""
        path, wanted = self._path(kind), self._fitting(kind)
        # The shipped models are known to be safe as they are wanted, and need no probe.
        if path not in (TAGGER_PATH, EMBEDDING_PATH):
            wanted = Prober(self._settings.run_dir).safe_settings(path, wanted, stopping=self._stopping)
        return wanted

    def be_careful(self) -> None:
        """After a native crash: load the instruct model, if there is one, with the safest settings from now on."""
        path = self._settings.llm_path
        if path is not None and path.exists():
            Prober(self._settings.run_dir).be_careful(path, self._wanted("llm"))

    def _connect(self) -> Loaded:
        """The model of an inference server: nothing is loaded here, so no memory is asked for and nothing tried out."""
        from backend.inference.dspy_lm import DspyLM, quiet_dspy  # 0.6 s and 49 MB
        from backend.inference.remote import connect

        quiet_dspy()
        engine = connect(self._settings, stopping=self._stopping, on_progress=self._on_progress)
        most = self._settings.max_answer_tokens
        lm = DspyLM.from_engine(engine, engine.name, max_answer_tokens=most, weights=engine.weights)
        return Loaded(lm, engine, self.key("llm"), self._settings.n_parallel)

    def _wanted(self, kind: Kind) -> LoadSettings:
        if kind != "llm":
            return LoadSettings(kind, N_BATCH, min(_cores(), _MOST_SMALL_THREADS))
        chosen = self._settings
        return LoadSettings(
            kind,
            chosen.n_ctx_tokens,
            chosen.n_threads,
            chosen.n_gpu_layers,
            use_extra_bufts=True,
            n_sequences=chosen.n_parallel,
        )

    def _path(self, kind: Kind) -> Path:
        path = model_path(self._settings, kind)
        if path is None:
            raise WeightsMissing(self._settings.models_dir)
        return path

    def _reader(self, kind: Kind, model: LoadedModel) -> Any:
        cache_dir = self._settings.run_dir
        if kind == "tagger":
            from backend.inference.tagger import Tagger  # numpy: 0.05 s and 11 MB

            return Tagger(model, TAGGER_HEAD_PATH, cache_dir=cache_dir)
        if kind == "embedding":
            from backend.inference.embedder import Embedder  # numpy, as above

            return Embedder(model)
        if kind == "reranker":
            from backend.inference.reranker import Reranker  # numpy, as above

            return Reranker(model)
        from backend.inference.dspy_lm import DspyLM, quiet_dspy  # 0.6 s and 49 MB
        from backend.inference.engine import Engine

        quiet_dspy()
        return DspyLM.from_engine(
            Engine(
                model,
                stopping=self._stopping,
                prefix_dir=self._settings.prefixes_dir,
                on_progress=self._on_progress,
            ),
            model.path.stem,
            max_answer_tokens=self._settings.max_answer_tokens,
            weights=fingerprint(model.path, cache_dir),
        )


def largest_listed(n_ctx_tokens: int, available: int, path: Path | None = None) -> str:
    """The largest listed instruct model that fits into `available` bytes, in words; empty where none does.

    One that fits with an ordinary context goes before a larger one that fits with less. `path` is of the catalogue.
    """
    from backend.inference.catalog import CATALOG_PATH, read_catalog  # 25 ms, and only who is refused needs it

    try:
        listed = [entry for entry in read_catalog(path or CATALOG_PATH) if entry.kind == "llm"]
    except CharlieError:  # a malformed catalogue is said where it is listed, and is not why this model is refused
        return ""
    fitting = []
    for entry in listed:
        wanted = min(n_ctx_tokens, entry.context)
        n_tokens = longest_context(entry.header, wanted, n_batch=N_BATCH, available_bytes=available)
        fitting += [(n_tokens >= min(wanted, _ORDINARY_TOKENS), entry.size_bytes, n_tokens, entry)] if n_tokens else []
    if not fitting:
        return ""
    _, _, n_tokens, entry = max(fitting, key=lambda found: found[:2])
    need = need_bytes(entry.header, n_ctx_tokens=n_tokens, n_batch=N_BATCH, writes_answers=True)
    return (
        f"choose {entry.name} ('charlie models pull {entry.name}'), the largest listed model that fits: "
        f"{need / 2**20:,.0f} MB with a context of {n_tokens:,} tokens"
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

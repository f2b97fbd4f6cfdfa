"""Builds what the manager hands out, by kind: checks that it fits, tries it in a child, loads it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backend.errors import ModelTooLarge, WeightsMissing
from backend.inference.gguf_header import read_header
from backend.inference.loader import N_BATCH, Kind, LoadedModel, LoadSettings, check_kind, load_model
from backend.inference.memory import available_bytes, need_bytes
from backend.inference.probe import Prober
from backend.inference.weights import fingerprint
from backend.settings import EMBEDDING_PATH, TAGGER_HEAD_PATH, TAGGER_PATH, Settings

# The small models read so little at a time that all cores together get it over with; more than four gain nothing.
_MOST_SMALL_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and the object that reads with it."""

    # Tagger, DspyLM or Embedder.
    reader: Any
    model: LoadedModel
    # Settings it was loaded by; others mean that it is stale.
    made_for: tuple[object, ...]


def model_path(settings: Settings, kind: Kind) -> Path | None:
    """The weights that serve as `kind`; None where no LLM has been chosen."""
    return {"llm": settings.llm_path, "tagger": TAGGER_PATH, "embedding": EMBEDDING_PATH}[kind]


class ModelLoader:
    """Loads by the settings; keeps nothing."""

    def __init__(
        self,
        settings: Settings,
        stopping: Callable[[], bool] = lambda: False,
        available_bytes: Callable[[], int] = available_bytes,
    ) -> None:
        self._available_bytes = available_bytes
        self._settings = settings
        self._stopping = stopping

    def key(self, kind: Kind) -> tuple[object, ...]:
        """What makes a model of this kind the one that the settings ask for."""
        chosen = self._settings
        if kind != "llm":
            return (model_path(chosen, kind),)
        return (chosen.llm_path, chosen.n_ctx_tokens, chosen.n_threads, chosen.n_gpu_layers, chosen.max_answer_tokens)

    def need_bytes(self, kind: Kind) -> int:
        """Memory that a model of `kind` would take, from its header alone. Raises as `load` does."""
        path = self._path(kind)
        header = read_header(path)
        check_kind(path, header, kind)
        return need_bytes(
            header, n_ctx_tokens=self._wanted(kind).n_ctx_tokens, n_batch=N_BATCH, writes_answers=kind == "llm"
        )

    def load(self, kind: Kind, on_progress: Callable[[float], bool]) -> Loaded:
        """A model of `kind`; the caller closes it.

        Raises:
            WeightsMissing, WeightsUnusable: see `load_model`.
            ModelTooLarge: it needs more than is available, and the settings do not say to try all the same.
            Stopped: `stopping` or `on_progress` said so.
        """
        wanted = self.try_out(kind)
        model = load_model(
            self._path(kind),
            kind=kind,
            n_ctx_tokens=wanted.n_ctx_tokens,
            n_threads=wanted.n_threads,
            n_gpu_layers=wanted.n_gpu_layers,
            use_extra_bufts=wanted.use_extra_bufts,
            on_progress=on_progress,
        )
        try:
            return Loaded(self._reader(kind, model), model, self.key(kind))
        except BaseException:
            model.close()
            raise

    def try_out(self, kind: Kind) -> LoadSettings:
        """The settings that work for the chosen file, found out in a child where nobody knows yet; raises as `load`."""
        path, wanted = self._path(kind), self._wanted(kind)
        need, available = self.need_bytes(kind), self._available_bytes()
        if need > available and not self._settings.memory_override:
            raise ModelTooLarge(path.name, need, available)
        if kind == "llm":
            wanted = Prober(self._settings.run_dir).safe_settings(path, wanted, stopping=self._stopping)
        return wanted

    def be_careful(self) -> None:
        """After a native crash: load the instruct model, if there is one, with the safest settings from now on."""
        path = self._settings.llm_path
        if path is not None and path.exists():
            Prober(self._settings.run_dir).be_careful(path, self._wanted("llm"))

    def _wanted(self, kind: Kind) -> LoadSettings:
        if kind != "llm":
            # The shipped models are known to be safe like this, and need no probe.
            return LoadSettings(kind, N_BATCH, min(_cores(), _MOST_SMALL_THREADS))
        chosen = self._settings
        return LoadSettings(
            kind, chosen.n_ctx_tokens, chosen.n_threads, chosen.n_gpu_layers, use_extra_bufts=True, n_sequences=1
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
        from backend.inference.dspy_lm import DspyLM, quiet_dspy  # 0.6 s and 49 MB
        from backend.inference.engine import Engine

        quiet_dspy()
        return DspyLM.from_engine(
            Engine(model, stopping=self._stopping),
            model.path.stem,
            max_answer_tokens=self._settings.max_answer_tokens,
            weights=fingerprint(model.path, cache_dir),
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

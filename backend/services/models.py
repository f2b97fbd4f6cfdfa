"""Which models there are, which of them lie on this machine and fit it, and which one reads."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil

from backend.errors import DownloadFailed, ModelUnknown, ReadingUnavailable, SettingsError, Stopped
from backend.inference.catalog import (
    CatalogEntry,
    CatalogKind,
    find_entry,
    nearest,
    read_catalog,
    read_pins,
    write_pin,
)
from backend.inference.download import PATIENT, Fetching, Patience, discard_partial, fetch, partial_bytes
from backend.inference.gguf_header import Header, read_header
from backend.inference.loader import ENCODERS, RANK_POOLING
from backend.inference.loading import ModelLoader, fitting_sequences, model_need_bytes
from backend.inference.memory import available_bytes
from backend.services.preferences import save_setting
from backend.services.worker.crashes import Crashes
from backend.settings import EMBEDDING_PATH, TAGGER_PATH, Settings

TAGGER = "tagger"
# The setting that names the file of a kind.
_SETTINGS: Final[dict[CatalogKind, str]] = {
    "llm": "llm_path",
    "embedding": "embedding_path",
    "reranker": "reranker_path",
}
_SHIPPED_EMBEDDING: Final = EMBEDDING_PATH.name.split(".")[0]
_SHIPPED: Final = {TAGGER: TAGGER_PATH, _SHIPPED_EMBEDDING.lower(): EMBEDDING_PATH}


class Fit(StrEnum):
    """Whether this machine has the memory for a model."""

    NOW = "yes"
    # It has, once other programs have given some back.
    LATER = "later"
    NEVER = "no"
    # The file cannot be read.
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Memory:
    """This machine's memory, bytes."""

    available: int
    total: int


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that can be used or fetched."""

    # What `use`, `pull` and `rm` call it.
    name: str
    # "tagger", "embedding", "reranker" or "llm".
    kind: str
    # Of the file on this machine, else of the one that would be fetched.
    size_bytes: int
    # While it works, at the context of the settings and with as many texts at once (`n_parallel` at most) as there is
    # memory for now; 0 where the file cannot be read.
    need_bytes: int
    fit: Fit
    # Where it lies; None where it would have to be fetched.
    path: Path | None
    # Whether new entries are read with it, or a person chose it for what else it does.
    is_active: bool = False
    # Whether it came with Charlie.
    is_shipped: bool = False
    # What the catalogue says; None for other files.
    entry: CatalogEntry | None = None
    # Commit it was fetched from; empty for what nobody vouches for.
    revision: str = ""
    # Of an unfinished download, what is there of it.
    partial_bytes: int = 0
    # Why the file cannot be used.
    problem: str = ""


def machine_memory() -> Memory:
    """What there is now."""
    return Memory(available_bytes(), int(psutil.virtual_memory().total))


def list_models(settings: Settings, memory: Memory | None = None) -> tuple[ListedModel, ...]:
    """The shipped models, the catalogue's, other files in `<home>/models`, and the chosen one wherever it lies.

    Contacts nobody. Raises SettingsError where the catalogue is malformed.
    """
    shelf = _Shelf(settings, memory or machine_memory())
    return tuple(shelf.models())


def pull_model(
    settings: Settings,
    name: str,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    stopping: Callable[[], bool] = lambda: False,
    patience: Patience = PATIENT,
) -> ListedModel:
    """The catalogue's model of this name, fetched, checked and pinned; at once where that was done before.

    `on_progress` gets the bytes that are there and the bytes in all, after every piece.

    Raises:
        ModelUnknown: the catalogue has none of this name.
        DownloadFailed: see `download.fetch`.
        Stopped: `stopping` said so.
    """
    entry = find_entry(read_catalog(), name)
    path, pin = settings.models_dir / entry.file, read_pins(settings.models_dir).get(entry.file)
    if not (pin and path.is_file() and path.stat().st_size == pin.size_bytes):
        fetch(entry, settings.models_dir, Fetching(on_progress, stopping, patience))
    return _Shelf(settings, machine_memory()).model(path)


def use_model(settings: Settings, choice: str, *, stopping: Callable[[], bool] = lambda: False) -> ListedModel:
    """Have this model serve as its kind from now on: a listed name, a file's path, or "tagger" for the shipped reader.

    An instruct model reads new entries; an embedding model makes the vectors, a reranker ranks what was found. A file
    is checked and tried in a child first.

    Raises:
        ModelUnknown, WeightsMissing: there is none of this name; no such file.
        DownloadFailed: it is in the catalogue and has not been fetched.
        WeightsUnusable: it is damaged, an addition to a model, or crashes.
        ModelTooLarge: it needs more memory than there is.
        SettingsError: the choice cannot be written, or a server reads in place of any model here.
        Stopped: `stopping` said so; nothing is changed.
    """
    path = _path_of(settings, choice)
    if path == TAGGER_PATH:
        _refuse_beside_a_server(settings)
        save_setting(settings.home, "llm_path", None)
        Crashes(settings.run_dir).forgive()
        return next(iter(list_models(settings.model_copy(update={"llm_path": None}))))
    kind = _kind_of(read_header(path))
    if kind == "llm":
        _refuse_beside_a_server(settings)
    # The shipped one is no choice: another that a later Charlie ships takes its place.
    written = None if path == EMBEDDING_PATH else path
    chosen = settings.model_copy(update={_SETTINGS[kind]: written})
    ModelLoader(chosen, stopping).try_out(kind)
    if stopping():  # what was tried before is not tried again, and asks nobody
        raise Stopped
    save_setting(settings.home, _SETTINGS[kind], str(written) if written else None)
    if kind == "llm":
        Crashes(settings.run_dir).forgive()
    shelf = _Shelf(chosen, machine_memory())
    return shelf.model(path) if written else shelf.shipped_embedding()


def _refuse_beside_a_server(settings: Settings) -> None:
    if settings.llm_url:
        problem = f"the server at {settings.llm_url} reads in place of any model here: remove this setting first"
        raise SettingsError("llm_url", "CHARLIE_LLM_URL or charlie.toml", problem)


def remove_model(settings: Settings, name: str, *, even_active: bool = False) -> int:
    """Remove a model's file from `<home>/models`, and what is left of downloads of it; how many bytes that freed.

    `even_active` removes one that serves as its kind too, and goes back to the shipped one of that kind, if any.

    Raises:
        ModelUnknown: nothing of this name lies there.
        SettingsError: it is shipped, lies elsewhere, or is in use.
    """
    found = _find_installed(settings, name)
    path = found.path if found.path else settings.models_dir / (found.entry.file if found.entry else name)
    if path.parent != settings.models_dir:
        raise SettingsError(found.name, str(path), "only what lies in Charlie's own models folder is removed")
    if found.is_active:
        if not even_active:
            doing = "reads new entries" if found.kind == "llm" else "is in use"
            problem = f"it {doing} now: choose another with 'charlie models use NAME', or say --force"
            raise SettingsError(found.name, str(path), problem)
        save_setting(settings.home, next(name for kind, name in _SETTINGS.items() if kind == found.kind), None)
    path.unlink(missing_ok=True)
    discard_partial(settings.models_dir, path.name)
    if path.name in read_pins(settings.models_dir):
        write_pin(settings.models_dir, path.name, None)
    return found.size_bytes if found.path else found.partial_bytes


class _Shelf:
    """What lies where, read once."""

    def __init__(self, settings: Settings, memory: Memory) -> None:
        self._settings = settings
        self._memory = memory
        self._entries = {entry.file: entry for entry in read_catalog()}
        self._pins = read_pins(settings.models_dir)

    def models(self) -> Iterator[ListedModel]:
        """All of them: the shipped ones first, then the catalogue in its order, then other files."""
        tagger = replace(self.model(TAGGER_PATH), name=TAGGER, kind=TAGGER)
        yield replace(tagger, is_active=not self._settings.has_llm, is_shipped=True)
        yield self.shipped_embedding()
        folder, chosen = self._settings.models_dir, self._chosen() - {EMBEDDING_PATH}
        paths = set(folder.glob("*.gguf")) | {path for path in chosen if path.exists()}
        for file, entry in self._entries.items():
            path = folder / file
            yield self.model(path) if path in paths else self._to_fetch(entry)
        for path in sorted(paths - {folder / file for file in self._entries}):
            yield self.model(path)

    def model(self, path: Path) -> ListedModel:
        """The model in the file at `path`."""
        entry = self._entries.get(path.name) if path.parent == self._settings.models_dir else None
        listed = ListedModel(
            name=entry.name if entry else path.name if path.parent == self._settings.models_dir else str(path),
            kind=entry.kind if entry else "llm",
            size_bytes=path.stat().st_size if path.exists() else 0,
            need_bytes=0,
            fit=Fit.UNKNOWN,
            path=path,
            is_active=path in self._chosen(),
            entry=entry,
            revision=pin.revision if (pin := self._pins.get(path.name)) and entry else "",
        )
        try:
            header = read_header(path)
        except ReadingUnavailable as error:
            return replace(listed, problem=str(error))
        kind = listed.kind if entry else _kind_of(header)
        need = self._need(header, kind)
        return replace(listed, kind=kind, need_bytes=need, fit=self._fit(need))

    def shipped_embedding(self) -> ListedModel:
        """The one that makes the vectors where no other was chosen."""
        found = self.model(EMBEDDING_PATH)
        return replace(found, name=_SHIPPED_EMBEDDING, kind="embedding", is_active=False, is_shipped=True)

    def _chosen(self) -> set[Path]:
        """The files that the settings name and that are used."""
        chosen = self._settings
        reads = None if chosen.llm_url else chosen.llm_path
        return {path for path in (reads, chosen.embedding_path, chosen.reranker_path) if path}

    def _to_fetch(self, entry: CatalogEntry) -> ListedModel:
        need = self._need(entry.header, entry.kind)
        return ListedModel(
            entry.name,
            entry.kind,
            entry.size_bytes,
            need,
            self._fit(need),
            path=None,
            entry=entry,
            partial_bytes=partial_bytes(self._settings.models_dir, entry.file),
        )

    def _need(self, header: Header, kind: str) -> int:
        """As the loader counts: with as many texts at once as there is room for now, or with one."""
        n_sequences = fitting_sequences(self._settings, header, kind, self._memory.available)
        return model_need_bytes(self._settings, header, kind, n_sequences or 1)

    def _fit(self, need: int) -> Fit:
        if need > self._memory.total:
            return Fit.NEVER
        return Fit.NOW if need <= self._memory.available else Fit.LATER


def _kind_of(header: Header) -> CatalogKind:
    if header.architecture not in ENCODERS:
        return "llm"
    return "reranker" if header.number("pooling_type") == RANK_POOLING else "embedding"


def _path_of(settings: Settings, choice: str) -> Path:
    """Where the model that a person names lies: a name of the list before a file of the same name here."""
    if choice.lower() in _SHIPPED:
        return _SHIPPED[choice.lower()]
    if os.sep in choice or choice.startswith("~"):
        return Path(choice).expanduser().absolute()
    for name in (choice, f"{choice}.gguf"):
        if (settings.models_dir / name).is_file():
            return settings.models_dir / name
    try:
        entry = find_entry(read_catalog(), choice)
    except ModelUnknown:
        if Path(choice).exists() or choice.endswith(".gguf"):
            return Path(choice).absolute()
        raise
    path = settings.models_dir / entry.file
    if not path.is_file():
        raise DownloadFailed(f"{entry.name} is not on this machine: 'charlie models pull {entry.name}' fetches it")
    return path


def _find_installed(settings: Settings, name: str) -> ListedModel:
    """The model of this name, or in the file of this name, that takes room on this machine."""
    here = [model for model in list_models(settings) if model.path or model.partial_bytes]
    wanted = name.lower()
    for model in here:
        files = {model.path.name.lower(), model.path.stem.lower(), str(model.path)} if model.path else set()
        if wanted in {model.name.lower(), *files}:
            return model
    raise ModelUnknown(name, nearest([model.name for model in here], name))

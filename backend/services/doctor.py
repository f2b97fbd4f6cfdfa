"""What works on this machine and what does not: one check a subject, for `charlie doctor`."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from backend.database.lifecycle import EmbeddedServer
from backend.database.resp import RespConnection
from backend.errors import CharlieError
from backend.inference.gguf_header import read_header
from backend.inference.loader import N_BATCH, LoadSettings, check_kind
from backend.inference.probe import Prober
from backend.settings import EMBEDDING_PATH, TAGGER_HEAD_PATH, TAGGER_PATH, Settings

# Below this the journal has room for a while yet, and too little for a model.
LITTLE_DISK_BYTES = 64 * 1024 * 1024
_ANSWER_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    # What was found; with what to do about it where it is not well.
    detail: str


def examine(settings: Settings) -> Iterator[Check]:
    """The checks, each as soon as it is made. Starts the database for a moment; loads a model in a child only."""
    yield _python()
    home = _home(settings)
    yield home
    if home.is_ok:
        yield _privacy(settings)
        yield _disk(settings)
        yield _database(settings)
    # What a probe finds out is remembered in the home.
    prober = Prober(settings.run_dir) if home.is_ok else None
    yield _model("tagger", TAGGER_PATH, LoadSettings("tagger", N_BATCH, 1), prober)
    yield _file("tagger's head", TAGGER_HEAD_PATH)
    yield _model("embedding model", EMBEDDING_PATH, LoadSettings("embedding", N_BATCH, 1), prober)
    yield _reader(settings, prober)
    yield _machine(settings)
    yield Check("worker", True, _WORKERS[settings.worker])


_WORKERS = {
    "thread": 'reads inside Charlie\'s own process (worker = "thread")',
    "process": 'reads in a child process (worker = "process")',
    "none": "off (worker = \"none\"): entries wait until 'charlie work --drain'",
}


def _python() -> Check:
    version = platform.python_version()
    return Check("python", sys.version_info >= (3, 12), f"{version} on {platform.system()} {platform.machine()}")


def _home(settings: Settings) -> Check:
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home) as file:
            file.write(b"\n")
    except OSError as error:
        return Check("home", False, f"{settings.home} cannot be written ({error.strerror}): set CHARLIE_HOME")
    return Check("home", True, str(settings.home))


def _privacy(settings: Settings) -> Check:
    kept = [folder for folder in (settings.database_dir, settings.drafts_dir) if folder.is_dir()]
    folders = [folder for folder in kept if folder.stat().st_mode & 0o077]
    if folders:
        names = " ".join(map(str, folders))
        return Check("privacy", False, f"others on this machine can read the journal: chmod 700 {names}")
    return Check("privacy", True, "only you can read the journal's folders")


def _disk(settings: Settings) -> Check:
    free = shutil.disk_usage(settings.home).free
    if free < LITTLE_DISK_BYTES:
        return Check("disk", False, f"{_mb(free)} free: make room, or saving will soon fail")
    return Check("disk", True, f"{_mb(free)} free")


def _database(settings: Settings) -> Check:
    server = EmbeddedServer(settings.home)
    try:
        server.open()
        with RespConnection(server.socket_path, _ANSWER_LIMIT_S) as connection:
            version = connection.info("server").get("redis_version", "?")
            is_synced = connection.info("persistence").get("aof_last_write_status", "ok") == "ok"
    except (CharlieError, OSError) as error:
        return Check("database", False, str(error))
    finally:
        server.close()
    if not is_synced:
        return Check("database", False, f"redis {version} cannot write to its file: see {server.log_path}")
    return Check("database", True, f"redis {version} with FalkorDB, every entry synced to disk")


def _model(name: str, path: Path, wanted: LoadSettings, prober: Prober | None) -> Check:
    """Whether the file is whole, of the right kind, and decodes in a child process."""
    try:
        header = read_header(path)
        check_kind(path, header, wanted.kind)
        safe = prober.safe_settings(path, wanted) if prober else wanted
    except CharlieError as error:
        return Check(name, False, str(error))
    caution = ", with careful settings" if safe != wanted else ""
    tried = f", decodes here{caution}" if prober else ""
    return Check(name, True, f"{path.name}, {_mb(header.size_bytes)}{tried}")


def _file(name: str, path: Path) -> Check:
    return Check(name, path.is_file(), path.name if path.is_file() else f"{path} is missing: fetch Charlie again")


def _reader(settings: Settings, prober: Prober | None) -> Check:
    if settings.llm_path:
        wanted = LoadSettings(
            "llm", settings.n_ctx_tokens, settings.n_threads, settings.n_gpu_layers, use_extra_bufts=True
        )
        return _model("language model", settings.llm_path, wanted, prober)
    return Check("language model", True, "none chosen: the tagger reads ('charlie models use PATH' chooses one)")


def _machine(settings: Settings) -> Check:
    free = psutil.virtual_memory().available
    return Check("machine", True, f"{os.cpu_count()} cores, {settings.n_threads} of them read; {_mb(free)} memory free")


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MB"

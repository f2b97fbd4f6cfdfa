"""What works on this machine and what does not: one check a subject, for `charlie doctor`."""

import os
import platform
import re
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
from backend.inference.gguf_header import Header, read_header
from backend.inference.loader import N_BATCH, LoadSettings, check_kind
from backend.inference.loading import fitting_sequences, model_need_bytes
from backend.inference.measure import measure_speed, native_features
from backend.inference.memory import available_bytes
from backend.inference.probe import Prober
from backend.inference.weights import fingerprint
from backend.services.models import list_models
from backend.settings import EMBEDDING_PATH, TAGGER_HEAD_PATH, TAGGER_PATH, Settings

# Below this the journal has room for a while yet, and too little for a model.
LITTLE_DISK_BYTES = 64 * 1024 * 1024
_ANSWER_LIMIT_S = 5.0
_CPUINFO = Path("/proc/cpuinfo")
# What makes a difference to llama.cpp, of the names that Linux has for it on x86 and ARM.
_TELLING = re.compile(
    r"avx2?|f16c|fma|avx_vnni|avx512(f|_vnni|_bf16)|amx_(tile|int8|bf16)|asimd(hp|dp)?|i8mm|bf16|sve2?|sme"
)
# The context that a short run for speed makes.
_MEASURED_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    # What was found; with what to do about it where it is not well.
    detail: str


def examine(settings: Settings) -> Iterator[Check]:
    """The checks, each as soon as it is made. Starts the database for a moment; loads models in children only.

    An instruct model takes its load and some seconds, for its speed.
    """
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
    embedding = settings.embedding_path or EMBEDDING_PATH
    yield _model("embedding model", embedding, LoadSettings("embedding", N_BATCH, 1), prober)
    if settings.reranker_path:
        yield _model("reranker", settings.reranker_path, LoadSettings("reranker", N_BATCH, 1), prober)
    yield _reader(settings, prober)
    if settings.llm_url or settings.llm_path:
        yield _prompt(settings, may_remember=home.is_ok)
    yield from _other_models(settings, prober)
    yield _machine(settings)
    yield _processor()
    yield _llama_cpp(settings)
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


def _model(
    name: str, path: Path, wanted: LoadSettings, prober: Prober | None, settings: Settings | None = None
) -> Check:
    """Whether the file is whole, of the right kind, and decodes in a child process.

    With `settings`, which an instruct model takes, also its memory and how quick it is.
    """
    try:
        header = read_header(path)
        check_kind(path, header, wanted.kind)
        safe = prober.safe_settings(path, wanted) if prober else wanted
    except CharlieError as error:
        return Check(name, False, str(error))
    found = [f"{path.name}, {_mb(header.size_bytes)}", *(["decodes here"] if prober else [])]
    found += _switched_off(wanted, safe, prober.why_safer(path, wanted) if prober else "")
    if prober and settings is not None:
        found += [_memory(settings, header), _speed(settings, path, header, safe)]
    return Check(name, True, ", ".join(found))


def _switched_off(wanted: LoadSettings, safe: LoadSettings, why: str) -> list[str]:
    """What a try in a child showed to be unsafe for this file on this machine, and what happened there."""
    off = ["repacked weights"] if wanted.use_extra_bufts and not safe.use_extra_bufts else []
    off += ["the GPU"] if wanted.n_gpu_layers and not safe.n_gpu_layers else []
    why = why or "llama.cpp failed with more when it was tried"
    return [f"without {' and '.join(off)}: {why}"] if off else []


def _memory(settings: Settings, header: Header) -> str:
    """What it takes when it is loaded, by the loader's own sum."""
    n_together = fitting_sequences(settings, header, "llm", available_bytes()) or 1
    texts = "one text" if n_together == 1 else f"{n_together} texts"
    return f"needs {_mb(model_need_bytes(settings, header, 'llm', n_together))} to read {texts} at a time"


def _speed(settings: Settings, path: Path, header: Header, safe: LoadSettings) -> str:
    measured = settings.model_copy(update={"n_ctx_tokens": _MEASURED_TOKENS})
    need, available = model_need_bytes(measured, header, "llm", 1), available_bytes()
    if need > available:
        return f"its speed is not known: it needs {_mb(need)} and {_mb(available)} are free"
    speed = measure_speed(path, safe)
    if speed is None:
        return "its speed is not known: it took too long"
    return (
        f"reads {speed.prompt_tokens_s:,.0f} and writes {speed.answer_tokens_s:,.1f} tokens a second, "
        f"loads in {speed.load_s:,.1f} s"
    )


def _file(name: str, path: Path) -> Check:
    return Check(name, path.is_file(), path.name if path.is_file() else f"{path} is missing: fetch Charlie again")


def _reader(settings: Settings, prober: Prober | None) -> Check:
    if settings.llm_url:
        return Check("language model", True, f"the server at {settings.llm_url} reads")
    if settings.llm_path:
        return _model("language model", settings.llm_path, _wanted(settings), prober, settings)
    return Check("language model", True, "none chosen: the tagger reads ('charlie models list' shows others)")


def _prompt(settings: Settings, *, may_remember: bool) -> Check:
    """Which prompt the chosen model reads with, and why; a server is not asked which model it has."""
    from backend.graph.llm_reader import LEAST_TEXT_TOKENS  # dspy: 0.6 s and 49 MB
    from backend.graph.prompt_store import EXTRACT_NODES, PROMPTS, choose_prompt

    path = settings.llm_path
    if settings.llm_url or path is None:
        is_compiled = (PROMPTS / f"{EXTRACT_NODES}.json").exists()
        told = "compiled, where it was made with this server's model; else plain"
        return Check("prompt", True, told if is_compiled else "plain: none has been compiled")
    try:
        weights = fingerprint(path, settings.run_dir if may_remember else None)
    except OSError as error:
        return Check("prompt", False, f"{path.name} cannot be read ({error.strerror})")
    choice = choose_prompt(weights)
    room = f"; plain where that leaves an entry less than {LEAST_TEXT_TOKENS} tokens" if choice.is_compiled else ""
    return Check("prompt", True, f"{choice.reason}{room}")


def _other_models(settings: Settings, prober: Prober | None) -> Iterator[Check]:
    """Those instruct models on this machine that could read and do not."""
    try:
        models = list_models(settings)
    except CharlieError as error:
        yield Check("models", False, str(error))
        return
    for model in models:
        if model.kind == "llm" and model.path and model.path != settings.llm_path:
            yield _model(model.name, model.path, _wanted(settings), prober, settings)


def _wanted(settings: Settings) -> LoadSettings:
    return LoadSettings(
        "llm",
        settings.n_ctx_tokens,
        settings.n_threads,
        settings.n_gpu_layers,
        use_extra_bufts=True,
        n_sequences=settings.n_parallel,
    )


def _machine(settings: Settings) -> Check:
    free = psutil.virtual_memory().available
    return Check("machine", True, f"{os.cpu_count()} cores, {settings.n_threads} of them read; {_mb(free)} memory free")


def _processor() -> Check:
    told = _cpuinfo(_CPUINFO)
    has = [name for name in told.get("flags", told.get("Features", "")).split() if _TELLING.fullmatch(name)]
    name = told.get("model name") or platform.processor() or platform.machine()
    return Check("processor", True, f"{name}: {', '.join(sorted(has)) or 'what it can do is not told here'}")


def _cpuinfo(path: Path) -> dict[str, str]:
    """What Linux tells of the first processor; empty elsewhere."""
    try:
        lines = path.read_text("utf-8", "replace").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _llama_cpp(settings: Settings) -> Check:
    native = native_features()
    if native is None:
        return Check("llama.cpp", False, "it cannot be opened, so that no model can read: set Charlie up again")
    uses = f"uses {', '.join(native.features)}" if native.features else "uses nothing special of the processor"
    if not native.has_gpu:
        return Check("llama.cpp", True, f"{uses}; no GPU (built without one, or none is found)")
    layers = settings.n_gpu_layers
    offload = "all layers" if layers < 0 else f"{layers} layers" if layers else "nothing, by the setting n_gpu_layers"
    return Check("llama.cpp", True, f"{uses}; a GPU takes {offload}")


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MB"

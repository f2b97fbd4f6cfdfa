"""Every knob, read once: environment `CHARLIE_*` over `<home>/charlie.toml` over the defaults here."""

import ipaddress
import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from backend.errors import SettingsError

DEFAULT_JOURNAL = "default"

CHECKOUT = Path(__file__).resolve().parent.parent
SHIPPED_MODELS = CHECKOUT / "models"
TAGGER_PATH = SHIPPED_MODELS / "charlie-tagger-v1.q8_0.gguf"
TAGGER_HEAD_PATH = SHIPPED_MODELS / "charlie-tagger-v1.head.npz"
EMBEDDING_PATH = SHIPPED_MODELS / "all-MiniLM-L6-v2.q8_0.gguf"
# Annotated entries that a model can be tried on.
GOLD_PATH = CHECKOUT / "optimizers" / "data" / "gold" / "tuning.jsonl"

# Scheme, host (a name, or an IPv6 address in brackets), port, path; no name, password, query or fragment. Stricter
# than the standard, so that no two libraries can disagree about which host is meant.
_URL: Final = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?((?:/[\w.~%-]+)*)/*", re.ASCII)


def default_home() -> Path:
    """Where this person's journal lives: `CHARLIE_HOME`, or the platform's user data folder."""
    chosen = os.environ.get("CHARLIE_HOME")
    path = Path(chosen) if chosen else platformdirs.user_data_path("charlie", appauthor=False)
    return path.expanduser().absolute()


def _physical_cores() -> int:
    """Cores to decode with: all but one of those this process may use, at least one."""
    return max(1, (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) - 1)


class Settings(BaseSettings):
    """What a person can choose. Each field is a key of charlie.toml and, upper-cased, of `CHARLIE_*`."""

    model_config = SettingsConfigDict(
        env_prefix="CHARLIE_", frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True
    )

    # Folder of everything Charlie keeps. Only the environment can move it.
    home: Path = Field(default_factory=default_home)
    # Journal that is shown and written to when none is named.
    journal: str = Field(default=DEFAULT_JOURNAL, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    # Where entries are read: in this process, in a child of it, or nowhere.
    worker: Literal["thread", "process", "none"] = "thread"
    # Tasks run where they are called, and saving enqueues nothing; for tests.
    immediate: bool = False
    # GGUF instruct model that reads deeper than the shipped tagger.
    llm_path: Path | None = None
    # GGUF text encoder that makes the vectors in place of the shipped one.
    embedding_path: Path | None = None
    # GGUF encoder with a head that ranks what was found; none is shipped.
    reranker_path: Path | None = None
    # Whether `llm_url` may lie on another machine, which then gets the text of entries.
    allow_remote: bool = False
    # OpenAI-compatible server whose model reads in place of `llm_path`: http://127.0.0.1:8080/v1
    llm_url: str | None = None
    # What that server asks for as a bearer token.
    llm_api_key: SecretStr | None = None
    # Which of its models; not needed where it serves one.
    llm_model: str | None = Field(default=None, min_length=1, max_length=200)
    # Context of the instruct model, tokens; with `llm_url`, how much of the server's is used.
    n_ctx_tokens: int = Field(default=4096, ge=2048, le=262_144)
    # Tokens an answer may take; an answer that reaches it is an error.
    max_answer_tokens: int = Field(default=1024, ge=16, le=32_768)
    # Names that a reader is less sure of than this (0 to 1) wait for your word instead of becoming entities.
    review_below: float = Field(default=0.5, ge=0, le=1)
    # Entries that the instruct model reads together.
    n_parallel: int = Field(default=4, ge=1, le=64)
    # Threads that decode.
    n_threads: int = Field(default_factory=_physical_cores, ge=1, le=512)
    # Layers put on a GPU where llama.cpp was built with one; -1 for all.
    n_gpu_layers: int = Field(default=-1, ge=-1)
    # Load a model even when it seems not to fit.
    memory_override: bool = False
    # Instruct models that may be resident together, beside the small ones; the least recently used leaves first.
    max_loaded: int = Field(default=1, ge=1, le=16)
    # The instruct model rests while the computer runs on battery.
    pause_on_battery: bool = False
    # With less memory free than this no instruct model is loaded, MiB.
    min_free_memory_mb: int = Field(default=500, ge=0)
    # Load the instruct model even while somebody types.
    load_while_typing: bool = True
    # Keep models resident when nothing waits.
    keep_loaded: bool = False
    # How nicely the worker runs (0 to 19).
    worker_nice: int = Field(default=10, ge=0, le=19)
    # An entry that has been pending this long without being touched is enqueued again, seconds.
    stale_after_s: float = Field(default=3600.0, gt=0)
    # Deleted entries can be brought back for so long, days.
    keep_deleted_days: int = Field(default=30, ge=0)
    # One of the themes that the command palette lists.
    theme: str = "textual-dark"

    @field_validator("llm_path", "embedding_path", "reranker_path", mode="after")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        # An empty line of charlie.toml is a Path too, and means none.
        return value.expanduser().absolute() if value and value != Path() else None

    @field_validator("llm_url", mode="after")
    @classmethod
    def _url(cls, value: str | None, info: ValidationInfo) -> str | None:
        found = _URL.fullmatch(value.strip()) if value else None
        if value is None:
            return None
        if found is None or int(found[3] or 1) not in range(1, 65536):
            raise ValueError(
                "must look like http://127.0.0.1:8080/v1: http or https, a host, and neither password nor query "
                "(a key goes into llm_api_key)"
            )
        if not is_loopback(found[2]) and not info.data.get("allow_remote"):
            raise ValueError(
                f"{found[2]} is not this machine, and would be sent your entries: set allow_remote = true to allow it"
            )
        port = f":{found[3]}" if found[3] else ""
        return f"{found[1]}://{found[2].lower()}{port}{found[4]}"

    @field_validator("llm_api_key", mode="after")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value().strip() if value else ""
        # Anything else cannot be sent in a header, and the library that refuses it quotes it.
        if not all("!" <= character <= "~" for character in key):
            raise ValueError("must be one word of ASCII characters")
        return SecretStr(key) if key else None

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def has_llm(self) -> bool:
        """Whether an instruct model has been chosen, on this machine or behind a server."""
        return self.llm_url is not None or self.llm_path is not None

    @property
    def database_dir(self) -> Path:
        """The embedded server's own folder."""
        return self.home / "database"

    @property
    def drafts_dir(self) -> Path:
        """Typed and not saved yet."""
        return self.home / "drafts"

    @property
    def logs_dir(self) -> Path:
        """Logs; ids and counts, no words of a journal."""
        return self.home / "logs"

    @property
    def run_dir(self) -> Path:
        """Locks, markers and remembered probes."""
        return self.home / "run"

    @property
    def prefixes_dir(self) -> Path:
        """What a model made of its fixed instructions, so that it need not read them again; no words of a journal."""
        return self.home / "prefixes"

    @property
    def models_dir(self) -> Path:
        """Weights the person fetched."""
        return self.home / "models"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then `<home>/charlie.toml`."""
        path = Path(init_settings().get("home") or default_home()) / "charlie.toml"
        toml = TomlConfigSettingsSource(settings_cls, toml_file=path)
        if "home" in toml.toml_data:
            raise SettingsError("home", str(path), "only CHARLIE_HOME moves the home: remove this line")
        return init_settings, env_settings, toml


def load_settings(**chosen: Any) -> Settings:
    """The settings as they stand now; keyword arguments win over the environment.

    Raises:
        SettingsError: a value cannot be used; names the key and where it came from.
    """
    try:
        return Settings(**chosen)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else "settings"
        is_unknown = first["type"] == "extra_forbidden"
        problem = "there is no such setting" if is_unknown else first["msg"].removeprefix("Value error, ")
        source = _source_of(key, chosen)
    except ValueError as error:  # tomllib.TOMLDecodeError: its message gives line and column
        key, problem, source = "charlie.toml", str(error), _file_of(chosen)
    except OSError as error:
        key, problem, source = "home", error.strerror or "cannot be read", _file_of(chosen)
    raise SettingsError(key, source, problem)


def sources(settings: Settings) -> dict[str, str]:
    """Where each setting's value comes from: "environment", "file" (charlie.toml) or "default"."""
    environment = {name.upper() for name, value in os.environ.items() if value}
    try:
        written = tomllib.loads((settings.home / "charlie.toml").read_text("utf-8"))
    except (OSError, ValueError):  # not there, or broken since it was read: whoever reads it next says so
        written = {}
    return {
        key: "environment" if f"CHARLIE_{key.upper()}" in environment else "file" if key in written else "default"
        for key in Settings.model_fields
    }


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine by its name alone; nothing is looked up."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _source_of(key: str, chosen: dict[str, Any]) -> str:
    if key in chosen:
        return "argument"
    if f"CHARLIE_{key.upper()}" in os.environ:
        return f"environment variable CHARLIE_{key.upper()}"
    return _file_of(chosen)


def _file_of(chosen: dict[str, Any]) -> str:
    return str(Path(chosen.get("home") or default_home()) / "charlie.toml")


@cache
def shipped_version() -> str:
    """Charlie's version as installed."""
    from importlib.metadata import PackageNotFoundError, version  # 10 ms: nothing else at start needs it

    try:
        return version("charlie-journal")
    except PackageNotFoundError:
        return "0.0.0"

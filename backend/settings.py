"""Every knob, read once: environment `CHARLIE_*` over `<home>/charlie.toml` over the defaults here."""

import ipaddress
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

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


@dataclass(frozen=True, slots=True)
class About:
    """What a person is told of a setting, in the README and on the settings screen; part of the field's annotation."""

    meaning: str
    # The default in words, where the value itself says little.
    default: str = ""
    # Whether a running Charlie takes it up when charlie.toml changes; the others wait for the next start.
    is_followed: bool = False


class Settings(BaseSettings):
    """What a person can choose. Each field is a key of charlie.toml and, upper-cased, of `CHARLIE_*`."""

    model_config = SettingsConfigDict(
        env_prefix="CHARLIE_", frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True
    )

    home: Annotated[
        Path,
        About("where everything lies; only the environment can move it", default="the platform's user data folder"),
    ] = Field(default_factory=default_home)
    journal: Annotated[str, About("the journal that is shown and written to")] = Field(
        default=DEFAULT_JOURNAL, pattern=r"^[A-Za-z0-9_-]{1,64}$"
    )
    review_below: Annotated[
        float,
        About(
            "names that the reader is less sure of (0 to 1) wait for your word instead of becoming people and places; "
            "0 takes them all (the tagger tells of none under 0.42)",
            is_followed=True,
        ),
    ] = Field(default=0.5, ge=0, le=1)
    worker: Annotated[
        Literal["thread", "process", "none"],
        About("where entries are read: `thread` (in Charlie), `process` (in a child of it), `none`"),
    ] = "thread"
    llm_path: Annotated[
        Path | None,
        About(
            "a GGUF instruct model that reads deeper than the tagger; `charlie models use PATH` sets it",
            is_followed=True,
        ),
    ] = None
    embedding_path: Annotated[
        Path | None,
        About(
            "a GGUF text encoder that makes the vectors for search; `charlie models use` sets it",
            default="the shipped model",
            is_followed=True,
        ),
    ] = None
    reranker_path: Annotated[
        Path | None,
        About("a GGUF encoder with a head that ranks what was found; `charlie models use` sets it", is_followed=True),
    ] = None
    # Before `llm_url`, whose check looks at it.
    allow_remote: Annotated[
        bool,
        About("whether `llm_url` may be another machine, which then gets the text of your entries", is_followed=True),
    ] = False
    llm_url: Annotated[
        str | None,
        About(
            "an OpenAI-compatible server (llama-server, vLLM, Ollama) that reads in place of `llm_path`: "
            "`http://127.0.0.1:8080/v1`",
            is_followed=True,
        ),
    ] = None
    llm_model: Annotated[
        str | None, About("which of the server's models", default="the only one", is_followed=True)
    ] = Field(default=None, min_length=1, max_length=200)
    llm_api_key: Annotated[
        SecretStr | None,
        About("the key that the server asks for; better in the environment than in a file", is_followed=True),
    ] = None
    n_ctx_tokens: Annotated[
        int,
        About("the instruct model's context; of a server's, how much is used at most", is_followed=True),
    ] = Field(default=4096, ge=2048, le=262_144)
    max_answer_tokens: Annotated[int, About("the longest answer it may give", is_followed=True)] = Field(
        default=1024, ge=16, le=32_768
    )
    n_parallel: Annotated[
        int,
        About("entries that the instruct model reads together, as far as there is memory for it", is_followed=True),
    ] = Field(default=4, ge=1, le=64)
    n_threads: Annotated[int, About("threads that read", default="all cores but one", is_followed=True)] = Field(
        default_factory=_physical_cores, ge=1, le=512
    )
    n_gpu_layers: Annotated[
        int, About("layers on a GPU, where llama.cpp was built with one", default="-1 (all)", is_followed=True)
    ] = Field(default=-1, ge=-1)
    memory_override: Annotated[bool, About("load a model even when it seems not to fit", is_followed=True)] = False
    max_loaded: Annotated[
        int,
        About("instruct models that may be in memory together; the least recently used leaves first", is_followed=True),
    ] = Field(default=1, ge=1, le=16)
    min_free_memory_mb: Annotated[
        int, About("with less memory free than this, no instruct model is loaded", is_followed=True)
    ] = Field(default=500, ge=0)
    pause_on_battery: Annotated[
        bool, About("the instruct model rests while the computer runs on battery", is_followed=True)
    ] = False
    load_while_typing: Annotated[
        bool,
        About("load the instruct model even while you type; `false` waits for a pause of 3 s", is_followed=True),
    ] = True
    keep_loaded: Annotated[bool, About("keep models in memory when nothing waits", is_followed=True)] = False
    worker_nice: Annotated[int, About("how nicely the worker runs, 0 to 19")] = Field(default=10, ge=0, le=19)
    stale_after_s: Annotated[
        float, About("an entry that has waited this long without being touched is queued again")
    ] = Field(default=3600.0, gt=0)
    keep_deleted_days: Annotated[int, About("how long a deleted entry can be brought back")] = Field(default=30, ge=0)
    theme: Annotated[str, About("one of the themes in the command palette")] = "textual-dark"
    immediate: Annotated[bool, About("for tests: nothing is queued, tasks run where they are called")] = False

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


@cache
def about_settings() -> dict[str, About]:
    """What a person is told of each setting, in the order in which they are shown."""
    told = {}
    for key, field in Settings.model_fields.items():
        told[key] = next(about for about in field.metadata if isinstance(about, About))
    return told


@cache
def followed_settings() -> tuple[str, ...]:
    """The settings that a running Charlie takes up when charlie.toml changes."""
    return tuple(key for key, about in about_settings().items() if about.is_followed)


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

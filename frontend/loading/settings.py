"""What the settings screen shows and does, and keeping a theme. Blocking: for a thread."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import SecretStr

from backend.domain import ModelState
from backend.errors import Stopped
from backend.settings import Settings, about_settings, sources
from frontend.state.settings_view import ModelLine, SettingLine, SettingsView

if TYPE_CHECKING:
    from backend.services.models import ListedModel
    from backend.services.runtime import Runtime
    from backend.services.self_test import Progress
    from backend.services.verdict import SelfTest


def load_settings_view(runtime: "Runtime") -> SettingsView:
    """The settings that this Charlie goes by, and the models there are.

    Raises:
        SettingsError: the catalogue of models is malformed.
    """
    from backend.services.models import list_models  # 60 ms that no other screen needs

    settings = runtime.settings
    where = sources(settings)
    values = (SettingLine(key, _value(getattr(settings, key)), where[key]) for key in about_settings())
    here = [model for model in list_models(settings) if model.path and model.kind in ("tagger", "llm")]
    return SettingsView(tuple(values), (*_server(settings), *(_model(model) for model in here)))


def choose(runtime: "Runtime", choice: str, stopping: Callable[[], bool]) -> str | None:
    """Have this model read new entries, as `charlie models use` does; its name, or None when it was stopped.

    Takes the time of a load.

    Raises:
        SettingsError, InferenceError: it cannot be used; nothing is changed.
    """
    from backend.services.models import use_model  # as above

    try:
        name = use_model(runtime.settings, choice, stopping=stopping).name
    except Stopped:
        return None
    runtime.follow_settings()
    return name


def try_model(
    runtime: "Runtime", choice: str, *, on_progress: Callable[[str], None], stopping: Callable[[], bool]
) -> "SelfTest | None":
    """The self-test of a model; None when it was stopped. `on_progress` gets words, in this thread.

    Raises:
        SettingsError, InferenceError: it cannot be tried.
        StorageError: the database does not answer.
    """
    from backend.services.self_test import run_self_test  # as above

    n_journal, model = sum(runtime.journal.journals().values()), runtime.status().model
    is_held = model.kind == "llm" and model.state is not ModelState.UNLOADED
    try:
        return run_self_test(
            runtime.settings,
            choice,
            n_journal=n_journal,
            held=model.name if is_held else "",
            on_progress=lambda progress: on_progress(_in_words(progress)),
            stopping=stopping,
        )
    except Stopped:
        return None


def keep_theme(settings: Settings, name: str) -> None:
    """Writes the theme to the settings file, for the next start.

    Raises:
        SettingsError: the file cannot be read or written.
    """
    from backend.services.preferences import save_setting  # tomlkit: 30 ms, and most starts never need it

    save_setting(settings.home, "theme", name)


def _in_words(progress: "Progress") -> str:
    from backend.services.verdict import duration  # with the self-test

    left = f", about {duration(progress.seconds_left)} left" if progress.seconds_left else ""
    doing = progress.doing.capitalize()
    return f"{doing} {progress.done} of {progress.of}{left} …" if progress.done else f"{doing} …"


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, SecretStr):
        return "set"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _server(settings: Settings) -> tuple[ModelLine, ...]:
    if settings.llm_url is None:
        return ()
    return (ModelLine("server", settings.llm_model or "server", True, settings.llm_url),)


def _model(model: "ListedModel") -> ModelLine:
    about = f"{model.size_bytes / 2**20:,.0f} MB, needs {model.need_bytes / 2**20:,.0f} MB of memory"
    is_tagger = model.kind == "tagger"
    about = "comes with Charlie, quick" if is_tagger else model.problem or about
    return ModelLine("tagger" if is_tagger else str(model.path), model.name, model.is_active, about)

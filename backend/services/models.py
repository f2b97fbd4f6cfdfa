"""Which models there are on this machine, and which one reads."""

from dataclasses import dataclass
from pathlib import Path

from backend.inference.loading import ModelLoader
from backend.services.crashes import Crashes
from backend.services.preferences import save_setting
from backend.settings import EMBEDDING_PATH, TAGGER_PATH, Settings


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A weights file that can be used."""

    name: str
    path: Path
    size_bytes: int
    # "tagger", "embedding" or "llm".
    kind: str
    # Whether new entries are read with it.
    is_active: bool


def list_models(settings: Settings) -> tuple[InstalledModel, ...]:
    """The shipped models, those in `<home>/models`, and the chosen one wherever it lies."""
    chosen = settings.llm_path
    paths = set(settings.models_dir.glob("*.gguf")) | ({chosen} if chosen and chosen.exists() else set())
    shipped = [_model(TAGGER_PATH, "tagger", is_active=chosen is None), _model(EMBEDDING_PATH, "embedding")]
    return (*shipped, *(_model(path, "llm", is_active=path == chosen) for path in sorted(paths)))


def use_model(settings: Settings, path: Path) -> InstalledModel:
    """Read new entries with this instruct model from now on; the file is checked and tried in a child first.

    Raises:
        WeightsMissing: there is no such file.
        WeightsUnusable: it is no instruct model, damaged, or crashes.
        ModelTooLarge: it needs more memory than there is.
        SettingsError: the choice cannot be written.
    """
    path = path.expanduser().absolute()
    ModelLoader(settings.model_copy(update={"llm_path": path})).try_out("llm")
    save_setting(settings.home, "llm_path", str(path))
    Crashes(settings.run_dir).forgive()
    return _model(path, "llm", is_active=True)


def use_tagger(settings: Settings) -> InstalledModel:
    """Read new entries with the shipped tagger alone from now on. Raises SettingsError."""
    save_setting(settings.home, "llm_path", None)
    Crashes(settings.run_dir).forgive()
    return _model(TAGGER_PATH, "tagger", is_active=True)


def _model(path: Path, kind: str, *, is_active: bool = False) -> InstalledModel:
    return InstalledModel(path.name, path, path.stat().st_size if path.exists() else 0, kind, is_active)

"""Write a choice to `<home>/charlie.toml`, keeping the person's own comments and order."""

import os
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from backend.errors import SettingsError


def save_setting(home: Path, key: str, value: str | int | bool | None) -> None:
    """Set a key, or remove it with None; replaced by rename, so that a crash leaves the old file.

    Raises:
        SettingsError: the file is not TOML, or cannot be written.
    """
    # Where the file is a link, what it points to is changed.
    path = (home / "charlie.toml").resolve()
    try:
        document = tomlkit.parse(path.read_text("utf-8")) if path.exists() else tomlkit.document()
        if value is None:
            document.pop(key, None)
        else:
            document[key] = value
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        # Private from the start: the file may hold the key of an inference server.
        with open(fresh, "w", encoding="utf-8", opener=_private) as file:
            file.write(tomlkit.dumps(document))
        fresh.replace(path)
    except TOMLKitError as error:
        raise SettingsError(key, str(path), f"the file is not valid TOML ({error})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(key, str(path), f"the file cannot be changed ({error})") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)

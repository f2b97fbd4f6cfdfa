"""What the settings screen shows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting."""

    key: str
    # As charlie.toml would have it; "none" for nothing; a secret only says that it is set.
    value: str
    # "default", "file" or "environment".
    source: str


@dataclass(frozen=True, slots=True)
class ModelLine:
    """One model that can read, on this machine or behind the server that is set."""

    # What `charlie models use` and the self-test call it.
    choice: str
    name: str
    is_active: bool
    # Size, memory, and why it cannot be used.
    about: str


@dataclass(frozen=True, slots=True)
class SettingsView:
    """What is set and what can read, as of one moment."""

    values: tuple[SettingLine, ...]
    models: tuple[ModelLine, ...]

"""The backend for the length of one command."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backend.services.runtime import Runtime
from backend.settings import Settings, load_settings


@contextmanager
def opened() -> Iterator[Runtime]:
    """A Runtime over this person's home, opened, and closed whatever happens. No worker runs.

    Raises:
        SettingsError: a setting cannot be used.
        StorageUnavailable: the database cannot be opened.
    """
    runtime = Runtime(settings(), on_loading=_loading())
    try:
        runtime.open()
        yield runtime
    finally:
        runtime.close()


def settings() -> Settings:
    """What the person has chosen.

    Raises:
        SettingsError: a value cannot be used.
    """
    return load_settings()


def _loading() -> Callable[[float], None] | None:
    """Shows on a terminal how far a large journal has been loaded."""
    if not sys.stderr.isatty():
        return None

    def show(fraction: float) -> None:
        sys.stderr.write(f"\r\033[KOpening the journal: {fraction:.0%}" if fraction < 1 else "\r\033[K")
        sys.stderr.flush()

    return show

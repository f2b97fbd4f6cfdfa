"""The backend for the length of one command."""

import sys
from collections.abc import Iterator
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
    loading = LoadingLine()
    runtime = Runtime(settings(), on_loading=loading.show if sys.stderr.isatty() else None)
    try:
        try:
            runtime.open()
        finally:
            loading.clear()
        yield runtime
    finally:
        runtime.close()


def undo_command(runtime: Runtime, uuid: str) -> str:
    """What takes the last change to the journal of this entry back: 'charlie undo', with the journal where it must be.

    Raises:
        EpisodeNotFound: it is not there, or not any more.
    """
    journal = runtime.journal.get(uuid).journal
    return "'charlie undo'" if journal == runtime.settings.journal else f"'charlie undo --journal {journal}'"


def settings() -> Settings:
    """What the person has chosen.

    Raises:
        SettingsError: a value cannot be used.
    """
    return load_settings()


class LoadingLine:
    """Shows on a terminal how far a large journal has been loaded."""

    def __init__(self) -> None:
        self._is_shown = False

    def show(self, fraction: float) -> None:
        """Puts 0 to 1 in the place of what was shown."""
        self._is_shown = True
        self._write(f"Opening the journal: {fraction:.0%}")

    def clear(self) -> None:
        """Leaves an empty line; the last that is told is often less than 1."""
        if self._is_shown:
            self._write("")

    @staticmethod
    def _write(words: str) -> None:
        sys.stderr.write(f"\r\033[K{words}")
        sys.stderr.flush()

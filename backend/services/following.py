"""Settings that change while Charlie runs: charlie.toml is looked at, and what is followed is taken up."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from backend.errors import SettingsError
from backend.settings import Settings, followed_settings, load_settings

_log = logging.getLogger(__name__)


class Follower(Protocol):
    """Who goes by the settings: the worker's session."""

    def use(self, settings: Settings) -> None:
        """Go on with other settings."""
        ...

    def refuse(self, why: str) -> None:
        """Use no instruct model until `use`."""
        ...


class Following:
    """The settings as they stand now; thread-safe. Those that are not followed wait for the next start."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._follower: Follower | None = None
        # Held while settings are taken up: the screen and the worker may ask at once, and neither may go on with
        # what the other is about to take back.
        self._changing = threading.RLock()
        self._stamp = self._read_stamp()
        # Why the settings as they stand in the file cannot be followed, where that stops the instruct model.
        self._refused = ""

    def attach[F: Follower](self, make: Callable[[Settings], F]) -> F:
        """The follower that `make` builds from the settings; it hears of every change from now on."""
        with self._changing:
            follower = make(self.settings)
            self._follower = follower
            if self._refused:
                follower.refuse(self._refused)
            return follower

    def follow(self) -> Settings:
        """Take up what has changed in charlie.toml since it was read last; costs one stat. The settings now.

        A file that cannot be understood stops the instruct model where it may be about that: a server must get no
        entry that the person no longer wants it to have. Concurrent callers wait.
        """
        with self._changing:
            stamp = self._read_stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                self._take_up()
            return self.settings

    def _take_up(self) -> None:
        followed = followed_settings()
        try:
            written = load_settings(home=self.settings.home)
        except SettingsError as error:
            _log.warning("the settings are left as they were: %s", error)
            if self.settings.llm_url or (self.settings.has_llm and error.key in followed):
                self._refuse(str(error))
            return
        chosen = {key: getattr(written, key) for key in followed}
        is_mended, self._refused = bool(self._refused), ""
        if is_mended or any(getattr(self.settings, key) != value for key, value in chosen.items()):
            self.settings = self.settings.model_copy(update=chosen)
            if self._follower is not None:
                self._follower.use(self.settings)

    def _refuse(self, why: str) -> None:
        self._refused = why
        if self._follower is not None:
            self._follower.refuse(why)

    def _read_stamp(self) -> tuple[int, int, int] | None:
        try:
            found = (self.settings.home / "charlie.toml").stat()
        except OSError:
            return None
        # The time alone is the same for two changes within 4 ms.
        return found.st_mtime_ns, found.st_size, found.st_ino

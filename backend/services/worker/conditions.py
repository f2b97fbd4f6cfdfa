"""What the machine and the person are at, as far as reading has to wait for it."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backend.errors import ReadingDeferred, ReadingUnavailable
from backend.services.worker import policy
from backend.settings import Settings

_NAME: Final = "typed"


def is_on_battery() -> bool:
    """Whether the machine runs on battery; False where it has none, or does not say."""
    import psutil  # 10 ms, which no screen needs to open

    # Not there on every system, and a battery may be taken out between two looks.
    ask = getattr(psutil, "sensors_battery", None)
    try:
        battery = ask() if ask else None
    except (OSError, RuntimeError):
        return False
    return battery is not None and battery.power_plugged is False


class Typing:
    """When somebody typed last, told in one process and asked in any: the worker may be another one."""

    def __init__(self, run_dir: Path) -> None:
        """The time is kept as that of a file in `run_dir`."""
        self._path = run_dir / _NAME

    def note(self) -> None:
        """Somebody types now; a few microseconds, never an error."""
        # A full or locked disk must not come between a person and the text: a model may then be loaded meanwhile.
        with contextlib.suppress(OSError):
            self._path.touch()

    def ago_s(self) -> float:
        """Seconds since; infinite where nobody has, or the clock was set back."""
        try:
            ago_s = time.time() - self._path.stat().st_mtime
        except OSError:
            return math.inf
        return ago_s if ago_s >= 0 else math.inf


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where the machine and the person are asked; the functions are called only where the settings depend on them."""

    is_on_battery: Callable[[], bool]
    available_bytes: Callable[[], int]
    typed_ago_s: Callable[[], float]

    def check(self, settings: Settings, *, is_loaded: bool) -> None:
        """Whether the instruct model may read now; one that `is_loaded` needs no room, nor one behind a server.

        Raises:
            ReadingDeferred: on battery, or somebody types, and the settings say to wait.
            ReadingUnavailable: too little memory is free.
        """
        if settings.pause_on_battery:
            why = policy.why_wait_for_power(is_on_battery=self.is_on_battery(), pause_on_battery=True)
            if why:
                raise ReadingDeferred(why, policy.PAUSE_S)
        if is_loaded or settings.llm_url is not None:
            return
        if not settings.load_while_typing:
            why = policy.why_wait_for_typing(typed_ago_s=self.typed_ago_s(), load_while_typing=False)
            if why:
                raise ReadingDeferred(why, policy.TYPING_S)
        if not settings.memory_override:
            free_mb = self.available_bytes() / 2**20
            why = policy.why_wait_for_memory(available_mb=free_mb, min_free_memory_mb=settings.min_free_memory_mb)
            if why:
                raise ReadingUnavailable(why)


def conditions(run_dir: Path) -> Conditions:
    """Those of this machine."""
    from backend.inference.memory import available_bytes  # psutil, as above

    return Conditions(is_on_battery, available_bytes, Typing(run_dir).ago_s)

"""The slot for the Runtime that Huey tasks and `add_journal_entry` use."""

import atexit
import threading

from backend.services.runtime import Runtime
from backend.settings import load_settings

_slot: list[Runtime] = []
_guard = threading.RLock()


def bind(runtime: Runtime) -> None:
    """Make this the Runtime that tasks use, until it is closed."""
    with _guard:
        _slot[:] = [runtime]


def bound() -> Runtime | None:
    """The bound Runtime, if there is one and it is open."""
    with _guard:
        return _slot[0] if _slot and _slot[0].is_open else None


def current() -> Runtime:
    """The bound Runtime; a script or `huey_consumer` that bound none gets one from the settings, closed at exit."""
    with _guard:
        runtime = bound()
        if runtime is None:
            runtime = Runtime(load_settings())
            runtime.open()
            bind(runtime)
            atexit.register(runtime.close)
        return runtime

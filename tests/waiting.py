"""Waiting for what another thread or process brings about."""

import time
from collections.abc import Callable

LIMIT_S = 30.0


def until(is_true: Callable[[], bool], limit_s: float = LIMIT_S) -> bool:
    """Whether it came true in time."""
    deadline_s = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True

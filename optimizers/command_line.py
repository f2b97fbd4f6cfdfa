"""What the scripts' command lines share: numbers that make sense, servers by their URL, Ctrl-C that ends in order."""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event


def positive(text: str) -> int:
    """A number of things, at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def count(text: str) -> int:
    """A number of things, or none."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return number


def is_url(which: str) -> bool:
    """Whether a model is named by its server's address."""
    return which.startswith(("http://", "https://"))


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """An event that Ctrl-C sets, so that what is in work ends in order; a second one interrupts the waiting."""
    stop = Event()

    def stopped(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, stopped)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)

"""What the tests of the screens share: the text on a screen, and waiting for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from textual.app import App

from backend.services.runtime import Runtime
from frontend.app import CharlieApp

Shown = Callable[[App[None]], str]
Until = Callable[[Callable[[], object]], Awaitable[None]]

DAY = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)


@pytest.fixture
def shown() -> Shown:
    """A function that gives the characters on the screen, line by line."""

    def text_of(app: App[None]) -> str:
        strips = app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    return text_of


@pytest.fixture
def until() -> Until:
    """A coroutine that waits until something holds, 8 seconds at most."""
    return _waiting(8)


@pytest.fixture
def until_child() -> Until:
    """The same for what a child process does, 30 seconds at most: it starts slowly on a busy machine."""
    return _waiting(30)


def _waiting(most_s: float) -> Until:
    async def wait(holds: Callable[[], object]) -> None:
        end_s = time.monotonic() + most_s
        while not holds():
            assert time.monotonic() < end_s, "it never came to hold"
            await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def app(runtime: Runtime) -> CharlieApp:
    """Charlie over an open runtime without a worker."""
    return CharlieApp(runtime)


@pytest.fixture
def add_days() -> Callable[[Runtime, int], list[str]]:
    """A function that saves so many entries, one a day back from 14 March 2026; their uuids, newest first."""

    def add(runtime: Runtime, count: int) -> list[str]:
        return [
            runtime.journal.add(f"Entry {number}\nWords of day {number}.", valid_at=DAY - timedelta(days=number))
            for number in range(count)
        ]

    return add

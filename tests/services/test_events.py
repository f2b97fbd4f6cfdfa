"""What changed is told to every process, and after the server was gone to everybody again."""

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from backend.database.connection import default_client, redis_client
from backend.domain import Change, ChangeKind
from backend.services.events import Events
from backend.services.runtime import Runtime
from backend.settings import CHECKOUT

TELLER = """
from backend.services.runtime import Runtime
from backend.settings import load_settings
runtime = Runtime(load_settings(immediate=True))
runtime.open()
runtime.journal.add("x", uuid="from-afar")
runtime.close()
"""


@pytest.fixture
def heard(runtime: Runtime) -> "queue.Queue[Change]":
    """What a subscriber hears; the subscription is in place."""
    inbox: queue.Queue[Change] = queue.Queue()
    runtime.events.subscribe(inbox.put)
    assert [inbox.get(timeout=5) for _ in range(2)] == [Change(ChangeKind.WORKER), Change(ChangeKind.SAVED)]
    return inbox


@pytest.fixture
def other(runtime: Runtime) -> Iterator[Events]:
    """The events of a second Runtime, over connections of its own."""
    client = redis_client()
    events = Events(client)
    yield events
    events.close()
    client.close()


def until(heard: "queue.Queue[Change]", is_it: Callable[[Change], bool]) -> Change:
    """The first change that is the one looked for."""
    deadline_s = time.monotonic() + 10
    while True:
        change = heard.get(timeout=max(0.01, deadline_s - time.monotonic()))
        if is_it(change):
            return change


def test_a_change_arrives_whole(heard: "queue.Queue[Change]", other: Events) -> None:
    """Every kind, with its details, in order."""
    sent = [Change(kind, f"uuid{kind}", "diary", {"why": "[bold] $x 👍"}) for kind in ChangeKind]
    for change in sent:
        other.publish(change)
    assert [heard.get(timeout=5) for _ in sent] == sent


def test_another_process_is_heard(heard: "queue.Queue[Change]") -> None:
    """A save from a second terminal."""
    subprocess.run([sys.executable, "-c", TELLER], cwd=CHECKOUT, check=True)
    change = until(heard, lambda change: change.kind is ChangeKind.SAVED)
    assert (change.uuid, change.journal) == ("from-afar", "default")


def test_unsubscribed_is_not_called(runtime: Runtime, heard: "queue.Queue[Change]", other: Events) -> None:
    """Ending one subscription leaves the others; ending it twice does no harm."""
    calls: list[Change] = []
    unsubscribe = runtime.events.subscribe(calls.append)
    unsubscribe()
    unsubscribe()
    other.publish(Change(ChangeKind.SAVED, "a"))
    assert heard.get(timeout=5).uuid == "a"
    assert calls == []


def test_after_the_server_was_killed(heard: "queue.Queue[Change]", other: Events) -> None:
    """Everybody is told to ask again, since what was told meanwhile is lost; then it goes on."""
    os.kill(int(default_client().info("server")["process_id"]), signal.SIGKILL)
    until(heard, lambda change: change == Change(ChangeKind.WORKER))
    until(heard, lambda change: change == Change(ChangeKind.SAVED))
    other.publish(Change(ChangeKind.READ, "later"))
    assert until(heard, lambda change: change.uuid == "later").kind is ChangeKind.READ


def test_closing_is_quick_and_final(heard: "queue.Queue[Change]", runtime: Runtime, other: Events) -> None:
    """Quitting does not wait for a message."""
    started_s = time.monotonic()
    runtime.events.close()
    runtime.events.close()
    assert time.monotonic() - started_s < 0.5
    other.publish(Change(ChangeKind.SAVED, "late"))
    time.sleep(0.2)
    assert heard.empty()


def test_closing_without_a_subscriber(other: Events) -> None:
    """There is nothing to end."""
    other.close()

"""The opening of the journal, in a thread of its own; what comes of it as a message."""

import logging
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING

from textual.message import Message

from backend.errors import CharlieError
from frontend.messages import BackendFailed, BackendOpened

if TYPE_CHECKING:
    from backend.services.runtime import Runtime

_log = logging.getLogger(__name__)


def open_again(runtime: "Runtime") -> "Future[None]":
    """Another try to open the journal, under way; entries are read again once it is open."""
    future: Future[None] = Future()

    def opening() -> None:
        from backend.services.launch import start_worker  # what hosts a worker: 10 ms

        try:
            runtime.open()
            start_worker(runtime)
        except CharlieError as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    # A daemon: quitting must not wait for a server that does not come up.
    Thread(target=opening, name="open", daemon=True).start()
    return future


def outcome(opening: "Future[None]") -> Message:
    """What came of an opening that has ended. Any thread."""
    error = opening.exception()
    if error is None:
        return BackendOpened()
    if isinstance(error, CharlieError):
        return BackendFailed(str(error))
    # The message of an unknown error could quote the journal: its type alone is logged.
    _log.error("opening failed: %s", type(error).__name__)
    return BackendFailed("Something went wrong inside Charlie; the log says where.")

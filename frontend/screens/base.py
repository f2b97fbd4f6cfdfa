"""What all of Charlie's screens share: asking the backend, and saying what went wrong."""

import logging
from collections.abc import Callable
from typing import cast

from textual import on
from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from frontend.loading.calls import ask
from frontend.messages import CallFailed
from frontend.shell import Shell

_log = logging.getLogger(__name__)


class CharlieScreen(Screen[None]):
    """A screen that asks the backend off the event loop and gets its answers as messages."""

    @property
    def charlie(self) -> Shell:
        """The application, as what screens may ask of it."""
        # `frontend.app` has mypy check that it is one.
        return cast("Shell", self.app)

    def ask[Answer](
        self,
        call: Callable[[], Answer],
        answered: Callable[[Answer], Message],
        failed: Callable[[str], Message] = CallFailed,
        *,
        latest_of: str = "",
    ) -> Worker[None]:
        """Runs `call` in a thread; its answer, or its failure, comes back as a message to this screen.

        Of calls with the same `latest_of` only the answer to the last one comes back.
        """
        return ask(self, call, answered, failed, latest_of=latest_of)

    def say(self, message: str, *, is_error: bool = False) -> None:
        """A short notice; `message` is shown as it is."""
        self.app.notify(message, severity="error" if is_error else "information", markup=False)

    def keep_draft(self) -> None:
        """Writes what is being typed and not saved, where this screen has a field for it."""

    @on(CallFailed)
    def _tell_failure(self, event: CallFailed) -> None:
        # The application would say it once more.
        event.stop()
        self.say(event.problem, is_error=True)

    @on(Worker.StateChanged)
    def _tell_defect(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            # The message of an unknown error could quote the journal: its type alone is logged.
            _log.error("a call to the backend failed: %s", type(event.worker.error).__name__)
            self.say("Something went wrong inside Charlie; the log says where.", is_error=True)

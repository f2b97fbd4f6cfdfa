"""What is going on: the status line, and the problem above it when there is one."""

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from backend.domain import Status
from frontend.state.cells import both_ends
from frontend.state.wording import activity, model


class StatusLine(Widget):
    """One line: what is read and waits on the left, the model on the right."""

    _status: Status | None = None

    def show(self, status: Status | None) -> None:
        """Shows a snapshot; nothing while there is none yet."""
        self._status = status
        self.refresh()

    def render(self) -> Content:
        """Both ends of the line at its present width."""
        if self._status is None:
            return Content("")
        ends = activity(self._status), model(self._status.model, self._status.reader)
        return Content("".join(both_ends(*ends, self.content_size.width)))


class Problem(Static):
    """Why reading is paused, or what went wrong, and what to do; takes no room when there is nothing."""

    def show(self, problem: str) -> None:
        """Shows `problem` as it is; hides for an empty one."""
        self.update(Content(f"! {problem}" if problem else ""))
        self.display = bool(problem)

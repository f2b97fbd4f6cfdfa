"""The line at the top: where one is, and how much there is."""

from textual.content import Content
from textual.widget import Widget

from frontend.state.cells import both_ends


class TitleBar(Widget):
    """A title on the left and a remark on the right."""

    _title = ""
    _remark = ""

    def show(self, title: str, remark: str = "") -> None:
        """Shows both, the title cut where there is no room for it."""
        if (title, remark) != (self._title, self._remark):
            self._title, self._remark = title, remark
            self.refresh()

    def render(self) -> Content:
        """Both ends of the line at its present width."""
        left, right = both_ends(self._title, self._remark, self.content_size.width)
        return Content.assemble((left, "bold"), (right, "$text-muted"))

"""How Charlie ends: by a key, a signal or a defect, and always with what is being typed kept."""

import asyncio
import logging
import signal
import sys
import traceback
from pathlib import Path

from rich.console import Console, RenderableType
from rich.segment import Segments
from rich.text import Text
from textual.app import App

from frontend import routes

_log = logging.getLogger(__name__)


class DraftKeepingApp(App[None]):
    """An application whose editors leave a draft, whatever ends it; after a defect it names the file `log_path`."""

    def __init__(self, log_path: Path) -> None:
        super().__init__()
        # Textual's own follows `sys.stderr`, which leads to a log while the screens are shown.
        self.error_console = Console(file=sys.__stderr__, markup=False, highlight=False)
        self._log_path = log_path

    def end_on_signals(self) -> None:
        """A closed terminal or a `kill` ends in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)

    def end(self) -> None:
        """Ends; what is being typed is on disk by then."""
        routes.keep_drafts(self)
        self.exit()

    async def action_quit(self) -> None:
        """Ends Charlie; what is being written stays as a draft."""
        self.end()

    def _fatal_error(self) -> None:
        """Ends after a defect; Textual's own report prints the values of variables, which hold journal text."""
        routes.keep_drafts(self)
        kind, _, trace = sys.exc_info()
        frames = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(trace)]
        name = kind.__name__ if kind else "defect"
        _log.error("%s at %s", name, " > ".join(frames[-12:]))
        where = f"{name} at {frames[-1] if frames else 'unknown'}"
        words = Text(f"Charlie had to stop ({where}). What you typed is kept as a draft. Log: {self._log_path}")
        self._exit_renderables.append(Segments(self.console.render(words)))
        self._close_messages_no_wait()

    def panic(self, *renderables: RenderableType) -> None:
        """Ends at once: the terminal has gone, or a defect of Textual's own."""
        routes.keep_drafts(self)
        super().panic(*renderables)

"""The command: with arguments the command line, without any the screen.

What the first paint does not need is imported after it: the whole start, process to painted home, is to take
less than 0.6 s, of which Python and Textual alone take 0.25.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

    from backend.services.runtime import Runtime
    from backend.settings import Settings
    from frontend.app import CharlieApp

# The worker's imports (Huey, then a model) share the interpreter with the first paint.
WORKER_GRACE_S = 0.3


def main() -> None:
    """Run Charlie with the arguments of this process; ends the process with its exit status."""
    if len(sys.argv) > 1:
        from frontend.cli.app import app  # Typer and Rich: 0.15 s that the screen does not need

        app(prog_name="charlie")
    sys.exit(open_screen())


def open_screen() -> int:
    """Show the screen until the person quits; the exit status."""
    from backend.errors import CharlieError
    from backend.settings import load_settings

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return _refuse("the screen needs a terminal: 'charlie --help' shows the commands")
    try:
        return _run(load_settings())
    except CharlieError as error:
        return _refuse(str(error))


def import_screen() -> "tuple[type[Runtime], type[CharlieApp]]":
    """Everything that is imported before the first paint."""
    import frontend.terminal  # noqa: F401 - named here so that it counts
    from backend.services.runtime import Runtime
    from frontend.app import CharlieApp

    return Runtime, CharlieApp


def _run(settings: "Settings") -> int:
    from concurrent.futures import Future
    from threading import Thread

    from backend.database.lifecycle import EmbeddedServer

    # The server comes up in a process of its own while this one imports.
    early = EmbeddedServer(settings.home)
    opening: Future[None] = Future()
    Thread(target=early.open, name="server", daemon=True).start()
    runtime_class, app_class = import_screen()
    return 0

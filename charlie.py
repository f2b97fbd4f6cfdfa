"""The command: with arguments the command line, without any the screen.

A start is to take less than 0.6 s from process to painted home, and Python with Textual takes 0.25 of it. So the
database server comes up in its own process while Textual is imported, and what the first paint does not need
(the worker, Typer, the models) is imported after it or not at all.
"""

import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

    from backend.services.runtime import Runtime
    from backend.settings import Settings
    from frontend.app import CharlieApp

# The worker's imports (Huey, then a model) would share the interpreter with the first paint.
WORKER_GRACE_S = 0.3


def main() -> None:
    """Run Charlie with the arguments of this process; ends the process with its exit status."""
    os.umask(0o077)
    if len(sys.argv) > 1:
        from frontend.cli.app import app  # Typer and Rich cost 0.15 s that the screen does not need

        _close_in_order()
        app(prog_name="charlie")
    # Until the screens are imported nothing is worth collecting (0.04 s of the start): `frontend.routes` enables
    # it again.
    gc.disable()
    # A key that falls between two of Textual's frames waits for the next one: at 60 a second the slowest
    # of a hundred keys took 28 ms to show, at 240 9 ms.
    os.environ.setdefault("TEXTUAL_FPS", "240")
    status = open_screen()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # A worker that is still in native code when its time is up would crash in an orderly exit.
    os._exit(status)


def _close_in_order() -> None:
    """A closed terminal or a `kill` lets a command close what it has open, the database server above all."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def open_screen() -> int:
    """Show the screen until the person quits; the exit status."""
    from backend.errors import CharlieError
    from backend.settings import load_settings

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return _refuse("the screen needs a terminal: 'charlie --help' shows the commands")
    try:
        settings = load_settings()
    except CharlieError as error:
        return _refuse(str(error))
    try:
        return _show(settings)
    except OSError as error:
        return _refuse(f"{settings.home} cannot be written ({error.strerror}): choose another with CHARLIE_HOME")


def import_screen() -> "type[CharlieApp]":
    """Everything else that is imported before the first paint."""
    from frontend.app import CharlieApp

    return CharlieApp


def _show(settings: "Settings") -> int:
    """Build, run, and close in reverse. Raises OSError when the home cannot be written."""
    from concurrent.futures import Future
    from threading import Thread

    from backend.services.runtime import Runtime
    from frontend.terminal import ScreenGuard

    app: CharlieApp | None = None

    def show_loading(fraction: float) -> None:
        if app is not None and app.is_running:
            app.show_loading(fraction)

    with ScreenGuard(settings.logs_dir):
        runtime = Runtime(settings, on_loading=show_loading)
        try:
            opening: Future[None] = Future()
            Thread(target=_open, args=(runtime, opening), name="open", daemon=True).start()
            app = import_screen()(runtime, opening)
            app.run()
        finally:
            runtime.close()
    return app.return_code or 0


def _open(runtime: "Runtime", opening: "Future[None]") -> None:
    """Open the journal, tell the screen, and have entries read once that is painted."""
    try:
        runtime.open()
    except Exception as error:  # noqa: BLE001 - the screen tells errors from defects, and shows both
        opening.set_exception(error)
        return
    opening.set_result(None)
    if not runtime.stopping.wait(WORKER_GRACE_S):
        from backend.services.launch import start_worker  # what hosts a worker: 10 ms after the first paint

        start_worker(runtime)


def _refuse(problem: str) -> int:
    sys.stderr.write(f"charlie: {problem}\n")
    return 1


if __name__ == "__main__":
    main()

"""Where the text of an entry comes from: the arguments, standard input or the person's editor."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.domain import MAX_ENTRY_CHARS
from backend.errors import CharlieError, EntryInvalid
from backend.settings import Settings
from frontend.cli.output import CommandFailed

STDIN = "-"
# No character takes more than four bytes of UTF-8: what is longer need not be read to the end.
_MAX_BYTES = 4 * MAX_ENTRY_CHARS + 4


def comes_from_stdin(text: str | None) -> bool:
    """Whether the text is to be read from standard input."""
    return text == STDIN or (text is None and not sys.stdin.isatty())


def read_stdin() -> str:
    """Everything on standard input, exactly, line ends included.

    Raises:
        EntryInvalid: not UTF-8, or far too long.
    """
    data = sys.stdin.buffer.read(_MAX_BYTES)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) == _MAX_BYTES and error.start >= _MAX_BYTES - 4:
            raise EntryInvalid(f"an entry may have {MAX_ENTRY_CHARS:,} characters: split it") from None
        raise EntryInvalid(
            f"standard input is not valid UTF-8 (byte {error.start + 1:,}): convert it first, for example with iconv"
        ) from None


@contextmanager
def editor_text(settings: Settings, text: str = "") -> Iterator[str]:
    """What the person made of `text` in $VISUAL or $EDITOR, else vi; without the line end that editors add.

    The file goes when the block ends well; if saving fails it stays, and the error says where.

    Raises:
        CommandFailed: the editor cannot be started or gave up.
        EntryInvalid: what it left is not UTF-8.
    """
    path = _private_folder(settings) / "entry.md"
    path.touch(mode=0o600)
    path.write_bytes(text.encode("utf-8"))
    try:
        _run_editor(path)
        written = path.read_bytes().decode("utf-8")
        yield written if text.endswith("\n") else written.removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        raise EntryInvalid(f"what the editor left in {path} is not UTF-8 text: nothing was saved") from None
    except CharlieError as error:
        if path.exists() and path.read_bytes().strip() not in (b"", text.encode("utf-8").strip()):
            raise CommandFailed(f"{error} (nothing was saved; the text lies in {path})") from None
        _remove(path)
        raise
    _remove(path)


def _run_editor(path: Path) -> None:
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        status = subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        raise CommandFailed(f"the editor {command[0]!r} cannot be started ({error.strerror}): set EDITOR") from None
    if status:
        raise CommandFailed(f"the editor ended with status {status}: nothing was saved")


def _private_folder(settings: Settings) -> Path:
    """Inside the home, so that no word of the journal lies anywhere else; readable by its owner alone."""
    try:
        settings.drafts_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="editor-", dir=settings.drafts_dir))
    except OSError as error:
        raise CommandFailed(f"cannot write to {settings.drafts_dir}: {error.strerror}") from None


def _remove(path: Path) -> None:
    for left in path.parent.iterdir():  # backup files that editors make
        left.unlink(missing_ok=True)
    path.parent.rmdir()

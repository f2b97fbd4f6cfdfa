"""The command as a person starts it: streams, statuses and settings, in a process of its own."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from frontend.cli.session import LoadingLine
from tests.cli.conftest import Charlie

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(CHECKOUT / "charlie.py")]


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Charlie in a process of its own, from another folder, with the environment of this test."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]  # options are passed through
        [*COMMAND, *arguments], **{"capture_output": True, "text": True, "cwd": "/", "timeout": 60, **options}
    )


def test_an_entry_from_process_to_process(home: Path) -> None:
    """One process saves what another shows, and no traceback or warning stands on stderr."""
    added = run("add", "-", input="Coffee [bold] with 'Sarah' 👋 $source")
    shown = run("show", added.stdout.strip(), "--json")
    assert (added.returncode, added.stderr, shown.stderr) == (0, "", "")
    assert json.loads(shown.stdout)["text"] == "Coffee [bold] with 'Sarah' 👋 $source"


def test_a_wrong_setting_is_named_with_its_source(
    charlie: Charlie, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key and where it came from stand in one line."""
    home.mkdir()
    (home / "charlie.toml").write_text('n_threads = "many"\n')
    from_file = charlie("list")
    monkeypatch.setenv("CHARLIE_WORKER", "fleet")
    from_environment = charlie("list")
    (home / "charlie.toml").write_text("n_threads = = 3\n")
    monkeypatch.delenv("CHARLIE_WORKER")
    broken_file = charlie("list")
    for result in (from_file, from_environment, broken_file):
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "n_threads (from" in from_file.stderr
    assert "charlie.toml" in from_file.stderr
    assert "environment variable CHARLIE_WORKER" in from_environment.stderr
    assert "charlie.toml" in broken_file.stderr


def test_a_home_that_cannot_be_written(charlie: Charlie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line and status 1, and nothing is made elsewhere."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CHARLIE_HOME", str(tmp_path / "file" / "home"))
    result = charlie("add", "x")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_the_screen_needs_a_terminal(home: Path) -> None:
    """Without a terminal the screen is refused in one line."""
    result = run(stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "terminal" in result.stderr


def test_a_reader_that_goes_away(home: Path) -> None:
    """`charlie list | head` ends without a traceback."""
    run("add", "x")
    reading, writing = os.pipe()
    os.close(reading)
    done = run("list", "--json", stdout=writing, stderr=subprocess.PIPE, capture_output=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_output_that_cannot_be_written(home: Path) -> None:
    """Output to a full disk fails in one line."""
    with open("/dev/full", "wb") as full:
        done = run("list", "--json", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot be written" in done.stderr


def on_terminal(*arguments: str) -> bytes:
    """What Charlie writes to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen([*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        written = bytearray()
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux's end of file
                break
            if not piece:
                break
            written += piece
        assert process.wait(30) == 0
    os.close(master)
    return bytes(written)


def test_a_terminal_gets_no_control_characters(home: Path) -> None:
    """An escape sequence in an entry is shown, not sent; brackets are no markup."""
    uuid = run("add", "-", input="evil \x1b]0;title\x07 [red]text[/red] \x9b31m").stdout.strip()
    for command in (("show", uuid), ("list",), ("show", uuid, "--json")):
        written = on_terminal(*command)
        assert b"\x1b]0" not in written
        assert b"\x07" not in written
        assert "\x9b".encode() not in written
        assert b"[red]text" in written


def test_the_line_about_loading_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    """Though the last that was told is 0: what a command prints begins on an empty line. Unshown, it writes nothing."""
    line = LoadingLine()
    line.clear()
    assert capsys.readouterr().err == ""
    line.show(0.0)
    line.clear()
    assert capsys.readouterr().err == "\r\033[KOpening the journal: 0%\r\033[K"


@pytest.mark.parametrize(
    "command",
    [
        *("add", "edit", "delete", "undo", "retry", "reject"),
        *("list", "show", "entities", "entity", "work", "status", "doctor", "models", "review"),
    ],
)
def test_help_has_an_example(charlie: Charlie, command: str) -> None:
    """`--help` of every command shows how it is used."""
    result = charlie(command, "--help")
    assert result.exit_code == 0
    assert f"Example: charlie {command}" in result.stdout


def test_version(charlie: Charlie) -> None:
    """`--version` prints name and version."""
    assert charlie("--version").stdout.startswith("charlie ")

"""Commands that change entries."""

from pathlib import Path

import pytest

from tests.cli.conftest import Charlie, CharlieJson

ODD_TEXTS = [
    "Paid $source and $uuid, `rm -rf` and ''quotes\"\" \\n",
    "MATCH (n) DETACH DELETE n // ' OR 1=1",
    "[bold]not bold[/bold] [/etc] [link=file:///x]y[/link]",
    "Family 👨‍👩‍👧 at Café Flore, naïve Zürich e\u0301",
    "שלום עולם and مرحبا بالعالم",
    "\u202eright to left override\u202c\ttab\r\nand a Windows line\r\n",
    "  leading and trailing space \n\n\n",
    "escape \x1b[31mred\x1b[0m and bell \x07",
]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_text_is_kept_exactly(charlie_json: CharlieJson, text: str) -> None:
    """What comes in on standard input comes out of `show`, character for character."""
    uuid = charlie_json("add", "-", input=text.encode())["uuid"]
    assert charlie_json("show", uuid)["text"] == text


def test_add_prints_only_the_uuid(charlie: Charlie, charlie_json: CharlieJson) -> None:
    """The uuid is all that stands on stdout, so that a script can take it."""
    result = charlie("add", "Coffee with Sarah.")
    assert result.exit_code == 0
    assert [result.stdout.strip()] == [entry["uuid"] for entry in charlie_json("list")]
    assert result.stderr == ""


def test_add_takes_journal_title_and_date(charlie_json: CharlieJson) -> None:
    """The three options arrive in the entry."""
    added = charlie_json("add", "Text.", "--journal", "work", "--title", "A day", "--date", "2024-03-15T21:00+02:00")
    shown = charlie_json("show", added["uuid"])
    assert (shown["journal"], shown["title"], shown["valid_at"]) == ("work", "A day", "2024-03-15T21:00:00+02:00")
    assert added["journal"] == "work"
    assert charlie_json("list") == []


@pytest.mark.parametrize(
    ("arguments", "input_", "said"),
    [
        (["add", ""], None, "needs some text"),
        (["add", " \n\t"], None, "needs some text"),
        (["add", "-"], b"", "needs some text"),
        (["add"], b"  \n", "needs some text"),
        (["add", "-"], b"a\0b", "null byte"),
        (["add", "-"], b"caf\xe9", "not valid UTF-8 (byte 4)"),
        (["add", "-"], b"x" * 1_000_001, "1,000,000 characters"),
        (["add", "-"], "é".encode() * 2_100_000, "1,000,000 characters"),
        (["add", "x", "--journal", "a b"], None, "journal's name"),
        (["add", "x", "--journal", "a" * 65], None, "journal's name"),
        (["add", "x", "--date", "the day of days"], None, "date cannot be read"),
        (["list", "--journal", "../x"], None, "journal's name"),
        (["show", "nope"], None, "no entry has this uuid"),
        (["edit", "nope", "x"], None, "no entry has this uuid"),
        (["delete", ""], None, "no entry"),
        (["retry", "nope"], None, "no entry"),
        (["reject", "nope", "Sarah"], None, "no entry"),
        (["entity", "Nobody"], None, "nothing by that name"),
        (["undo"], None, "nothing to undo"),
        (["models", "use", "/nonexistent.gguf"], None, "no model file"),
    ],
    # The inputs themselves would make names of a megabyte.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line_and_status_1(
    charlie: Charlie, charlie_json: CharlieJson, arguments: list[str], input_: bytes | None, said: str
) -> None:
    """Each expected failure says what is wrong in one line on stderr, and nothing is written."""
    result = charlie(*arguments, input=input_)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert charlie_json("list") == []


@pytest.mark.parametrize(
    "arguments", [["ad"], ["add", "a", "b"], ["show"], ["list", "--limit", "0"], ["entities", "--type", "x"], ["work"]]
)
def test_wrong_use_is_status_2(charlie: Charlie, arguments: list[str]) -> None:
    """Wrong use is told from an expected failure by its status."""
    result = charlie(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_edit_replaces_the_text(charlie: Charlie, charlie_json: CharlieJson) -> None:
    """`edit` takes the new text from the arguments or standard input, and raises the revision."""
    uuid = charlie_json("add", "Before $source.")["uuid"]
    assert charlie_json("edit", uuid[:8], "-", input="After $source.")["revision"] == 2
    assert charlie_json("show", uuid)["text"] == "After $source."


def test_edit_with_options_keeps_the_text(charlie_json: CharlieJson) -> None:
    """A new title or date alone leaves the text as it is."""
    uuid = charlie_json("add", "The text.")["uuid"]
    charlie_json("edit", uuid, "--title", "A title")
    shown = charlie_json("show", uuid)
    assert (shown["text"], shown["title"]) == ("The text.", "A title")


def test_a_refused_edit_changes_nothing(charlie: Charlie, charlie_json: CharlieJson) -> None:
    """An edit that cannot be saved leaves the entry as it was."""
    uuid = charlie_json("add", "The text.")["uuid"]
    assert charlie("edit", uuid, "-", input=b"\xff").exit_code == 1
    assert charlie("edit", uuid, "").exit_code == 1
    assert charlie_json("show", uuid)["text"] == "The text."


def test_delete_and_undo(charlie: Charlie, charlie_json: CharlieJson) -> None:
    """A deleted entry is gone from every list, and `undo` brings it back whole; the next one takes the add back."""
    uuid = charlie_json("add", "Coffee with Sarah.")["uuid"]
    assert charlie_json("delete", uuid[:8]) == {"uuid": uuid}
    assert charlie("show", uuid).exit_code == 1
    assert charlie_json("undo") == {"kind": "delete", "uuid": uuid}
    assert charlie_json("show", uuid)["text"] == "Coffee with Sarah."
    assert charlie_json("undo") == {"kind": "add", "uuid": uuid}
    assert charlie_json("list") == []


def test_undo_of_an_edit(charlie_json: CharlieJson) -> None:
    """The text before the edit is back."""
    uuid = charlie_json("add", "First.")["uuid"]
    charlie_json("edit", uuid, "Second.")
    assert charlie_json("undo")["kind"] == "edit"
    assert charlie_json("show", uuid)["text"] == "First."


def test_retry_without_anything_dead(charlie_json: CharlieJson) -> None:
    """With nothing given up there is nothing to revive, and that is no error."""
    assert charlie_json("retry") == {"retried": 0}


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Makes `script` the person's editor; `$1` is the file."""
    path = folder / "an editor.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{path}'")


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is a person at a keyboard."""
    monkeypatch.setattr("frontend.cli.entries.comes_from_stdin", lambda text: text == "-")


@pytest.mark.usefixtures("on_a_terminal")
def test_editor_writes_and_edits(
    charlie_json: CharlieJson, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$EDITOR opens on a file that only its owner can read, and what it leaves is saved; the file goes."""
    seen = tmp_path / "seen"
    editor(tmp_path, monkeypatch, f'ls -l "$1" > {seen}; echo "Coffee with Sarah." >> "$1"')
    uuid = charlie_json("add")["uuid"]
    assert charlie_json("show", uuid)["text"] == "Coffee with Sarah."
    charlie_json("edit", uuid)
    assert charlie_json("show", uuid)["text"] == "Coffee with Sarah.Coffee with Sarah."
    assert seen.read_text().startswith("-rw-------")
    assert str(home) in seen.read_text()
    assert not list((home / "drafts").glob("editor-*"))


@pytest.mark.usefixtures("on_a_terminal")
def test_text_from_the_editor_is_never_lost(
    charlie: Charlie, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the editor left and cannot be saved stays in a file in the home, and the error says where."""
    editor(tmp_path, monkeypatch, 'printf "a\\000b" > "$1"')
    result = charlie("add")
    (kept,) = (home / "drafts").glob("editor-*/entry.md")
    assert result.exit_code == 1
    assert str(kept) in result.stderr.replace("\n", "")
    assert kept.read_bytes() == b"a\0b"


@pytest.mark.usefixtures("on_a_terminal")
@pytest.mark.parametrize("script", ["exit 3", "true"])
def test_an_editor_that_gives_nothing(
    charlie: Charlie, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """An editor that fails, or leaves nothing, saves nothing and leaves nothing lying about."""
    editor(tmp_path, monkeypatch, script)
    result = charlie("add")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert not list((home / "drafts").glob("editor-*"))


@pytest.mark.usefixtures("on_a_terminal")
def test_no_such_editor(charlie: Charlie, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that is not there is named."""
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "no-such-editor --wait")
    result = charlie("add")
    assert result.exit_code == 1
    assert "no-such-editor" in result.stderr

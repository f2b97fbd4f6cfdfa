"""Typed and not saved: on disk, offered after a crash, never while somebody is typing it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend.errors import StorageUnavailable
from backend.services.drafts import Drafts
from backend.settings import CHECKOUT

TYPIST = """
import sys
from pathlib import Path
from backend.services.drafts import Drafts
drafts = Drafts(Path(sys.argv[1]))
drafts.save(drafts.new_id(), "e1", "diary", sys.argv[2])
print("saved", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where drafts lie; not there yet."""
    return tmp_path / "drafts"


@contextmanager
def typist(folder: Path, text: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has saved a draft and is still there."""
    command = [sys.executable, "-c", TYPIST, str(folder), text]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        yield process


def texts(drafts: Drafts) -> list[str]:
    """What is offered."""
    return [draft.text for _, draft in drafts.pending()]


@pytest.mark.parametrize(
    "text", ["", "[bold]$source\\", "a\r\nb\u2028", "half \ud800 \udcff", "👩‍👩‍👧" * 1000, "a\0b", "x" * 1_000_001]
)
def test_whatever_was_typed_is_kept(folder: Path, text: str) -> None:
    """What could not be saved as an entry is a draft all the same."""
    drafts = Drafts(folder)
    drafts.save(drafts.new_id(), "", "diary", text)
    drafts.close()
    ((_, draft),) = Drafts(folder).pending()
    assert (draft.text, draft.journal, draft.episode_uuid) == (text, "diary", "")
    assert draft.saved_at.tzinfo is not None


def test_drafts_are_private(folder: Path) -> None:
    """Nobody else may read them."""
    drafts = Drafts(folder)
    drafts.save(drafts.new_id(), "", "diary", "x")
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_saving_again_replaces(folder: Path) -> None:
    """The last state is the one that is offered."""
    drafts = Drafts(folder)
    mine = drafts.new_id()
    for text in ("a", "ab", "abc"):
        drafts.save(mine, "", "diary", text)
    drafts.close()
    assert texts(Drafts(folder)) == ["abc"]


def test_one_that_is_being_typed_is_not_offered(folder: Path) -> None:
    """Not to its own process, and not to another."""
    drafts = Drafts(folder)
    drafts.save(drafts.new_id(), "", "diary", "mine")
    assert texts(drafts) == []
    with typist(folder, "theirs") as process:
        assert texts(drafts) == []
        assert process.poll() is None


def test_a_killed_process_leaves_its_draft(folder: Path) -> None:
    """A kill -9 in the middle of typing: the next start offers the text."""
    with typist(folder, "lost?") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        ((_, draft),) = Drafts(folder).pending()
    assert (draft.text, draft.episode_uuid) == ("lost?", "e1")


def test_going_on_with_a_draft_adopts_it(folder: Path) -> None:
    """It is this process's from then on, once, under the name it was offered by; discarding ends it."""
    with typist(folder, "begun") as process:
        process.kill()
    drafts, others = Drafts(folder), Drafts(folder)
    ((offered, _),) = drafts.pending()
    drafts.save(offered, "e1", "diary", "begun and")
    drafts.save(offered, "e1", "diary", "begun and done")
    assert texts(others) == []
    drafts.discard(offered)
    drafts.close()
    assert texts(others) == []
    assert [path.name for path in folder.glob("*.json")] == []


def test_discarding_what_was_offered(folder: Path) -> None:
    """Without having gone on with it; twice does no harm."""
    left = Drafts(folder)
    left.save(left.new_id(), "", "diary", "x")
    left.close()
    drafts = Drafts(folder)
    ((offered, _),) = drafts.pending()
    drafts.discard(offered)
    drafts.discard(offered)
    assert texts(drafts) == []


def test_newest_first(folder: Path) -> None:
    """The one that was typed last is offered first."""
    left = Drafts(folder)
    for text in ("a", "b", "c"):
        left.save(left.new_id(), "", "diary", text)
    left.close()
    assert texts(Drafts(folder)) == ["c", "b", "a"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"{}", b"\xff\xfe", b'{"text": "x"}'])
def test_what_is_no_draft_is_left_alone(folder: Path, content: bytes) -> None:
    """It is not offered, and not removed."""
    folder.mkdir()
    (folder / "foreign-file.json").write_bytes(content)
    assert texts(Drafts(folder)) == []
    assert (folder / "foreign-file.json").read_bytes() == content


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A clear error that names the folder and not the text."""
    (tmp_path / "file").write_text("in the way")
    drafts = Drafts(tmp_path / "file" / "drafts")
    with pytest.raises(StorageUnavailable) as caught:
        drafts.save(drafts.new_id(), "", "diary", "zebra")
    assert str(tmp_path) in str(caught.value)
    assert "zebra" not in repr(caught.value)
    assert drafts.pending() == ()

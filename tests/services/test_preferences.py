"""A choice is written to the person's own file, and nothing else in it changes."""

from pathlib import Path

import pytest

from backend.errors import SettingsError
from backend.services.preferences import save_setting
from backend.settings import load_settings

FILE = """# mine, do not touch
theme = "nord"  # cold

# reading
worker_nice = 3
"""


def test_comments_and_order_stay(home: Path) -> None:
    """Only the value changes; a new key comes at the end."""
    home.mkdir()
    (home / "charlie.toml").write_text(FILE)
    save_setting(home, "theme", "gruvbox")
    save_setting(home, "journal", "work")
    assert (home / "charlie.toml").read_text() == FILE.replace("nord", "gruvbox") + 'journal = "work"\n'


def test_none_removes(home: Path) -> None:
    """The default holds again; removing what is not there is nothing."""
    save_setting(home, "journal", "work")
    save_setting(home, "journal", None)
    save_setting(home, "theme", None)
    assert load_settings(home=home).journal == "default"


@pytest.mark.parametrize("value", ['/a b/ü "x"\\y\'.gguf', "/tmp/👩‍👩‍👧.gguf"])
def test_what_is_written_is_what_is_read(home: Path, value: str) -> None:
    """Paths with quotes, backslashes and emoji."""
    save_setting(home, "llm_path", value)
    assert str(load_settings(home=home).llm_path) == value
    save_setting(home, "memory_override", True)
    save_setting(home, "n_ctx_tokens", 2048)
    settings = load_settings(home=home)
    assert (settings.memory_override, settings.n_ctx_tokens) == (True, 2048)


def test_the_file_is_private_and_whole(home: Path) -> None:
    """It may hold a key; nothing is left beside it."""
    save_setting(home, "theme", "secret")
    assert (home / "charlie.toml").stat().st_mode & 0o077 == 0
    assert [path.name for path in home.iterdir()] == ["charlie.toml"]


@pytest.mark.parametrize("content", [b"theme = ", b"\xff"])
def test_a_broken_file_is_not_overwritten(home: Path, content: bytes) -> None:
    """The error names key and file, and the file is as it was."""
    home.mkdir()
    path = home / "charlie.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        save_setting(home, "theme", "nord")
    assert (caught.value.key, caught.value.source) == ("theme", str(path))
    assert path.read_bytes() == content


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    """Named in the error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file"):
        save_setting(tmp_path / "file" / "home", "theme", "nord")

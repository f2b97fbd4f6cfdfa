"""Where a setting comes from, and that a wrong one says so."""

from pathlib import Path

import pytest

from backend.errors import SettingsError
from backend.settings import DEFAULT_JOURNAL, Settings, load_settings


@pytest.fixture
def toml(home: Path) -> Path:
    """The home's settings file, to be written."""
    home.mkdir()
    return home / "charlie.toml"


def test_defaults_lie_under_the_home(settings: Settings, home: Path) -> None:
    """One folder moves everything."""
    assert settings.journal == DEFAULT_JOURNAL
    folders = (settings.database_dir, settings.drafts_dir, settings.logs_dir, settings.run_dir, settings.models_dir)
    assert all(folder.parent == home for folder in folders)
    assert settings.n_threads >= 1


def test_environment_over_file_over_default(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments win over the environment, the environment over the file."""
    toml.write_text('journal = "file"\nworker_nice = 3\n')
    assert load_settings().journal == "file"
    monkeypatch.setenv("CHARLIE_JOURNAL", "environment")
    assert load_settings().journal == "environment"
    assert load_settings(journal="argument").journal == "argument"
    assert load_settings().worker_nice == 3


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """`CHARLIE_JOURNAL= charlie` is the default journal."""
    monkeypatch.setenv("CHARLIE_JOURNAL", "")
    assert load_settings().journal == DEFAULT_JOURNAL


def test_home_and_weights_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative home does not move when the working folder does; `~` is the person's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHARLIE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CHARLIE_LLM_PATH", "~/model.gguf")
    settings = load_settings()
    assert settings.home == tmp_path / "here"
    assert settings.llm_path == tmp_path / "model.gguf"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal", "a b"),
        ("journal", "a\n"),
        ("worker", "fork"),
        ("n_ctx_tokens", "12"),
        ("n_threads", "many"),
        ("immediate", "perhaps"),
        ("stale_after_s", "-1"),
    ],
)
def test_a_wrong_variable_names_itself(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The key and the environment variable stand in the message."""
    monkeypatch.setenv(f"CHARLIE_{name.upper()}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.key == name
    assert f"CHARLIE_{name.upper()}" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b'worker = "fork"', "worker"),
        (b"jurnal = 'x'", "jurnal"),
        (b"worker = ", "charlie.toml"),
        (b"\xff", "charlie.toml"),
    ],
)
def test_a_wrong_file_names_key_and_path(toml: Path, content: bytes, key: str) -> None:
    """A wrong value, an unknown key, no TOML at all, not even UTF-8."""
    toml.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.key == key
    assert str(toml) in str(caught.value)


def test_a_wrong_file_in_a_home_given_as_argument(tmp_path: Path, home: Path) -> None:
    """The file that was read is named, not the one of the environment's home."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "charlie.toml").write_text('worker = "fork"')
    with pytest.raises(SettingsError) as caught:
        load_settings(home=other)
    assert caught.value.source == str(other / "charlie.toml")
    (other / "charlie.toml").write_text("=")
    with pytest.raises(SettingsError) as caught:
        load_settings(home=other)
    assert caught.value.source == str(other / "charlie.toml")


def test_the_file_cannot_move_the_home(toml: Path) -> None:
    """A worker in a child reads the same file only if the environment alone says where it is."""
    toml.write_text('home = "/elsewhere"')
    with pytest.raises(SettingsError, match="home"):
        load_settings()


def test_wrong_argument(home: Path) -> None:
    """What the caller passed is named as such, without the value."""
    with pytest.raises(SettingsError) as caught:
        load_settings(worker="zebra")
    assert caught.value.source == "argument"
    assert "zebra" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://LOCALHOST/v1/", "http://localhost/v1"),
        (" http://[::1]:1/ ", "http://[::1]:1"),
        ("https://127.9.9.9", "https://127.9.9.9"),
    ],
)
def test_a_server_on_this_machine_needs_no_leave(home: Path, url: str, kept: str) -> None:
    """A name and addresses that can be nothing else."""
    settings = load_settings(llm_url=url)
    assert settings.llm_url == kept
    assert settings.has_llm


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.5:8080/v1",
        "https://api.example.org/v1",
        "http://localhost.example.org/v1",
        "http://0.0.0.0:8080/v1",
        "http://127.1:8080/v1",
        "http://2130706433/v1",
        "http://[::ffff:127.0.0.1]/v1",
    ],
)
def test_another_machine_needs_leave(home: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Entries go elsewhere only where the person said so; what may be elsewhere counts as elsewhere."""
    monkeypatch.setenv("CHARLIE_LLM_URL", url)
    with pytest.raises(SettingsError, match="allow_remote = true") as caught:
        load_settings()
    assert caught.value.key == "llm_url"
    assert "CHARLIE_LLM_URL" in str(caught.value)
    assert "Value error" not in str(caught.value)
    assert load_settings(allow_remote=True).llm_url == url


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "localhost",
        "ftp://127.0.0.1/v1",
        "http:///v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:0/v1",
        "http://user:secret@127.0.0.1/v1",
        "http://127.0.0.1\\@example.org/v1",
        "http://127.0.0.1/v1?key=secret",
        "http://127.0.0.1/v1#x",
        "http://127.0.0.1/v1\nx",
        "http://exämple.org/v1",
    ],
)
def test_what_is_no_address(home: Path, url: str) -> None:
    """One line that names the key and not the value, which may hold a password."""
    with pytest.raises(SettingsError, match="llm_url") as caught:
        load_settings(llm_url=url, allow_remote=True)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_key_is_not_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept without the line end of the file it came from; one that no header can carry is refused unseen."""
    monkeypatch.setenv("CHARLIE_LLM_API_KEY", "k3y\n")
    settings = load_settings()
    assert settings.llm_api_key is not None
    assert settings.llm_api_key.get_secret_value() == "k3y"
    assert "k3y" not in repr(settings)
    for wrong in ("k3y two", "k3y\r\nX-Other: 1", "k3yé"):
        with pytest.raises(SettingsError, match="llm_api_key") as caught:
            load_settings(llm_api_key=wrong)
        assert "k3y" not in str(caught.value)


def test_settings_do_not_change(settings: Settings) -> None:
    """They are read once; a change means reading them again."""
    with pytest.raises(ValueError, match="frozen"):
        settings.journal = "other"  # type: ignore[misc]


def test_an_empty_model_path_means_none(home: Path) -> None:
    """`llm_path = ""` in charlie.toml leaves the tagger to read."""
    home.mkdir(parents=True)
    (home / "charlie.toml").write_text('llm_path = ""')
    assert load_settings().llm_path is None

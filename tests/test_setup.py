"""What a fresh machine meets: the set-up script, the lock and the promises of the README."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from backend.settings import About, Settings, about_settings
from frontend.cli.app import app

CHECKOUT = Path(__file__).resolve().parent.parent
TOOLS = ("bash", "env", "dirname", "mkdir", "cat", "grep", "sed", "tail", "cut", "sleep", "rm", "touch")


def test_says_what_to_install_without_python(tmp_path: Path) -> None:
    """With no Python on the machine the set-up names ways to get one, and leaves no half of an environment."""
    folder = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / ".ci", folder / ".ci")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tools / tool).symlink_to(found)
    done = subprocess.run(
        [folder / ".ci/setup"],
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert "needs Python 3.12 or newer" in done.stderr
    assert not (folder / ".venv").exists()


def test_lock_pins_everything_with_hashes() -> None:
    """Each line of the lock pins one version, each has hashes, and no address of a registry or a machine is in it."""
    lock = (CHECKOUT / "requirements.lock").read_text("utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", lock) if not entry.startswith("#")]
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry[:60]
        assert "--hash=sha256:" in entry, entry[:60]
    assert not re.search(r"https?://|file:|--index|--find-links|/(?:home|opt|tmp|root)/", lock)


def test_lock_covers_every_dependency() -> None:
    """Whatever pyproject.toml names is in the lock."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (CHECKOUT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    assert {re.split(r"[<>=\[ ]", name)[0].lower() for name in named} <= locked


def test_readme_documents_every_command_and_setting() -> None:
    """No command and no setting is missing in the README."""
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    names = [info.name or info.callback.__name__ for info in app.registered_commands if info.callback]
    assert len(names) > 10
    assert [name for name in names if f"charlie {name}" not in readme] == []


def test_readme_has_the_settings_as_their_fields_tell_them() -> None:
    """The README's table is what the fields say: name, default, meaning; the message shows how it must be."""
    table = "\n".join(setting_row(key, about) for key, about in about_settings().items())
    assert table in (CHECKOUT / "README.md").read_text("utf-8"), f"the table of settings should be:\n{table}"


def setting_row(key: str, about: About) -> str:
    """A setting's line in the README."""
    value = Settings.model_fields[key].default
    if isinstance(value, bool | str):
        value = f"`{str(value).lower()}`"
    shown = about.default or ("none" if value is None else f"{value:g}" if isinstance(value, float) else value)
    return f"| `{'CHARLIE_HOME' if key == 'home' else key}` | {shown} | {about.meaning} |"


def test_scripts_can_be_run() -> None:
    """The scripts that make and the continuous integration call are executable."""
    assert os.access(CHECKOUT / ".ci/setup", os.X_OK)
    assert os.access(CHECKOUT / ".ci/run", os.X_OK)

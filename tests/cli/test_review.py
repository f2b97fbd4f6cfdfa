"""The commands about what readers were not sure of."""

from pathlib import Path

import pytest

from tests.cli.conftest import Charlie, CharlieJson

TEXT = "Went to Berlin with Sarah Miller.\nLater on Sarah Miller slept."


@pytest.fixture
def uuid(charlie_json: CharlieJson, charlie: Charlie, monkeypatch: pytest.MonkeyPatch) -> str:
    """An entry read by the shipped tagger, which is believed nothing."""
    monkeypatch.setenv("CHARLIE_REVIEW_BELOW", "1")
    added: str = charlie_json("add", TEXT)["uuid"]
    assert charlie("work", "--drain").exit_code == 0
    return added


def test_the_list_quotes_each_name_once(charlie: Charlie, charlie_json: CharlieJson, uuid: str) -> None:
    """With the line it stands in first, how sure the reader was, and how often it stands there."""
    lines = {line["surface"]: line for line in charlie_json("review")}
    sarah = lines["Sarah Miller"]
    assert (sarah["uuid"], sarah["type"], sarah["places"]) == (uuid, "Person", 2)
    assert sarah["quote"] == "Went to Berlin with Sarah Miller."
    assert 0 < sarah["confidence"] < 1
    assert TEXT[sarah["start"] : sarah["end"]] == "Sarah Miller"
    printed = charlie("review", "--limit", "1")
    assert printed.exit_code == 0
    assert printed.stdout.count("\n") == 1
    assert "Went to Berlin" in printed.stdout
    status = charlie_json("status")
    assert status["unsure"] == sum(line["places"] for line in lines.values())
    assert "'charlie review' lists them" in charlie("status").stdout


def test_help_tells_of_all_journals(charlie: Charlie) -> None:
    """The list is of all journals, unlike other lists, and the setting behind it is named."""
    printed = " ".join(charlie("review", "--help").stdout.split())
    assert "Of this one; else of all." in printed
    assert "review_below" in printed


def test_accept_and_dismiss_and_undo(charlie: Charlie, charlie_json: CharlieJson, uuid: str) -> None:
    """Accepted it is an entity, dismissed it is gone, and both can be taken back."""
    assert charlie_json("review", "accept", uuid[:8], "berlin")["name"] == "Berlin"
    (berlin,) = charlie_json("show", uuid)["entities"]
    assert (berlin["name"], berlin["mentions"][0]["origin"]) == ("Berlin", "person")
    assert charlie("review", "dismiss", uuid, "Sarah Miller").exit_code == 0
    assert "Sarah Miller" not in {line["surface"] for line in charlie_json("review")}
    assert charlie_json("undo")["kind"] == "dismiss"
    assert charlie_json("undo")["kind"] == "accept"
    assert charlie_json("show", uuid)["entities"] == []
    assert {"Berlin", "Sarah Miller"} <= {line["surface"] for line in charlie_json("review")}


def test_what_does_not_wait_cannot_be_decided(charlie: Charlie, uuid: str) -> None:
    """One clear line, and nothing is changed."""
    for decide in ("accept", "dismiss"):
        result = charlie("review", decide, uuid, "Nobody")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "'charlie review' lists what does" in result.stderr
    assert charlie("review", "accept", "nowhere", "Berlin").exit_code == 1
    assert charlie("review", "accept", uuid).exit_code == 2


def test_with_nothing_to_decide_the_list_is_empty(charlie: Charlie, charlie_json: CharlieJson, home: Path) -> None:
    """A fresh home, a journal that is not there, a name that is none."""
    assert charlie_json("review") == []
    assert charlie("review").stdout == ""
    assert charlie_json("review", "--journal", "nowhere") == []
    assert charlie("review", "--journal", "no/where").exit_code == 1


def test_what_undoes_it_is_said_for_another_journal(
    charlie: Charlie, charlie_json: CharlieJson, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Undo goes by journal: where that is not the one of the settings, the command names it."""
    monkeypatch.setenv("CHARLIE_REVIEW_BELOW", "1")
    uuid = charlie_json("add", TEXT, "--journal", "work")["uuid"]
    assert charlie("work", "--drain").exit_code == 0
    for arguments in (
        ("review", "accept", uuid, "Berlin"),
        ("reject", uuid, "Berlin"),
        ("review", "dismiss", uuid, "Sarah Miller"),
        ("delete", uuid),
    ):
        assert "('charlie undo --journal work' " in charlie(*arguments).stdout
    monkeypatch.setenv("CHARLIE_JOURNAL", "work")
    assert charlie_json("undo")["kind"] == "delete"
    assert "('charlie undo' " in charlie("delete", uuid).stdout

"""Commands that look."""

import pytest

from tests.cli.conftest import Charlie, CharlieJson

TEXT = "Coffee with Sarah at Blue Bottle in Oakland. Sarah told me about her sister."


@pytest.fixture
def read_entry(charlie: Charlie, charlie_json: CharlieJson) -> str:
    """The uuid of an entry that has been read by the shipped tagger."""
    uuid: str = charlie_json("add", TEXT)["uuid"]
    assert charlie("work", "--drain").exit_code == 0
    return uuid


def test_list_has_the_documented_fields(charlie_json: CharlieJson) -> None:
    """A line of the list, newest first, with title and preview apart."""
    charlie_json("add", "# Older\nMore of it.", "--date", "2024-03-15")
    charlie_json("add", "Newer", "--date", "2024-03-16")
    newer, older = charlie_json("list")
    assert (newer["title"], older["title"], older["preview"]) == ("Newer", "Older", "More of it.")
    assert set(older) == {"uuid", "title", "preview", "valid_at", "status", "journal"}
    assert older["status"] == "pending_nodes"
    assert charlie_json("list", "--limit", "1") == [newer]


def test_list_goes_beyond_a_page(charlie_json: CharlieJson) -> None:
    """A limit is what comes, however the database pages."""
    for day in range(1, 8):
        charlie_json("add", f"Day {day}", "--date", f"2024-03-{day:02}")
    assert [entry["title"] for entry in charlie_json("list", "--limit", "6")] == [f"Day {n}" for n in range(7, 1, -1)]


def test_plain_list_is_tab_separated(charlie: Charlie) -> None:
    """Off a terminal a list is one line an entry, in full, without colour or markup."""
    charlie("add", "[bold]A long title[/bold] " + "x" * 60, "--date", "2024-03-15T10:00")
    line = charlie("list").stdout
    fields = line.rstrip("\n").split("\t")
    assert fields[1:] == ["2024-03-15 10:00", "pending_nodes", fields[3]]
    assert fields[3].startswith("[bold]A long title[/bold] x")
    assert "\x1b" not in line


def test_show_names_who_and_where(charlie_json: CharlieJson, read_entry: str) -> None:
    """After a reading, each mention's span cut from the text is its surface."""
    shown = charlie_json("show", read_entry)
    assert (shown["status"], shown["relations"]) == ("done", [])
    sarah = next(entity for entity in shown["entities"] if entity["name"] == "Sarah")
    assert sarah["type"] == "Person"
    assert len(sarah["mentions"]) == 2
    for entity in shown["entities"]:
        for mention in entity["mentions"]:
            assert shown["text"][mention["start"] : mention["end"]] == mention["surface"]
            assert 0 < mention["confidence"] <= 1


def test_entities_and_entity(charlie_json: CharlieJson, read_entry: str) -> None:
    """What was found can be listed, by type too, and leads to the entries."""
    names = {entity["name"]: entity for entity in charlie_json("entities")}
    assert names["Sarah"]["n_episodes"] == 1
    assert {entity["type"] for entity in charlie_json("entities", "--type", "person")} == {"Person"}
    assert [entry["uuid"] for entry in charlie_json("entity", "sarah")["entries"]] == [read_entry]


def test_reject_and_undo(charlie: Charlie, charlie_json: CharlieJson, read_entry: str) -> None:
    """What a person rejects is gone from the entry, stays gone after another reading, and undo brings it back."""

    def names() -> set[str]:
        return {entity["name"] for entity in charlie_json("show", read_entry)["entities"]}

    assert charlie_json("reject", read_entry, "SARAH")["uuid"] == read_entry
    assert "Sarah" not in names()
    assert charlie("reject", read_entry, "Sarah").exit_code == 1
    assert charlie_json("undo")["kind"] == "reject"
    assert "Sarah" in names()
    charlie_json("reject", read_entry, "Sarah")
    charlie_json("edit", read_entry, TEXT + " Good.")
    assert charlie("work", "--drain").exit_code == 0
    assert "Sarah" not in names()


def test_journals_are_apart(charlie_json: CharlieJson) -> None:
    """An entry shows in its own journal only."""
    charlie_json("add", "Home.")
    charlie_json("add", "Office.", "--journal", "work")
    assert [entry["title"] for entry in charlie_json("list", "--journal", "work")] == ["Office."]
    assert [entry["title"] for entry in charlie_json("list")] == ["Home."]
    assert charlie_json("list", "--journal", "never-used") == []

"""`charlie doctor --model` as a person and as a program reads it."""

from tests.cli.conftest import Charlie, CharlieJson


def test_the_verdict_and_its_cost(charlie: Charlie, charlie_json: CharlieJson) -> None:
    """For a person in sentences; for a program with every figure, over the journal's real number of entries."""
    charlie_json("add", "One.")
    charlie_json("add", "Two.")
    printed = charlie("doctor", "--model", "tagger")
    assert printed.exit_code == 0
    assert printed.stdout.startswith("Good enough: ")
    assert "(2 entries)" in printed.stdout
    said = charlie_json("doctor", "--model", "tagger")
    assert (said["verdict"], said["good_enough"], said["entries"], said["journal_entries"]) == ("good", True, 12, 2)
    assert said["model"]["f1"] == said["tagger"]["f1"] > 0.5
    assert said["journal_hours"] >= 0


def test_a_wrong_name_is_one_line(charlie: Charlie) -> None:
    """With the nearest names there are, and nothing started."""
    result = charlie("doctor", "--model", "tager")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "tagger" in result.stderr

"""How far a run is, where nobody sees a bar."""

import pytest

from optimizers.progress import progress


def test_lines_tell_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Away from a terminal there is a line now and then, on stderr alone."""
    with progress("six", 2, line_every_s=0.0) as shown:
        shown.tick()
        shown.tick()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "six: 1 of 2, about 0 s left\nsix: 2 of 2, about 0 s left\n"


def test_what_is_quick_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A run of a moment leaves stderr alone."""
    with progress("six", 2) as shown:
        shown.reach(2)
    assert shown.done == 2
    assert capsys.readouterr() == ("", "")

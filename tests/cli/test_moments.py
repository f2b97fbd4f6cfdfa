"""Dates as people write them."""

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from backend.errors import EntryInvalid
from frontend.cli.moments import parse_moment


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The writer lives in a zone with summer time."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# A Friday.
NOW = datetime.fromisoformat("2026-11-20T10:30:00+01:00")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-03-15", "2024-03-15T00:00:00+01:00"),
        ("2024-07-15", "2024-07-15T00:00:00+02:00"),
        ("2024-03-15T21:05", "2024-03-15T21:05:00+01:00"),
        ("2024-03-15 21:05-05:00", "2024-03-15T21:05:00-05:00"),
        ("2024-03-15T21:05Z", "2024-03-15T21:05:00+00:00"),
        ("yesterday", "2026-11-19T10:30:00+01:00"),
        ("yesterday at 9pm", "2026-11-19T21:00:00+01:00"),
        ("last friday 9pm", "2026-11-13T21:00:00+01:00"),
        ("3 days ago", "2026-11-17T10:30:00+01:00"),
        ("15 March 2024", "2024-03-15T00:00:00+01:00"),
        ("gestern", "2026-11-19T10:30:00+01:00"),
    ],
)
def test_reads_iso_and_words(written: str, meant: str) -> None:
    """Both become an aware moment in the writer's zone as it was on that day, or in the offset that is given."""
    moment = parse_moment(written, NOW)
    assert moment.isoformat() == meant


@pytest.mark.parametrize(
    "written", ["", "   ", "12", "20", "2024-13-45", "asdf", "25:99", "2024-02-30", "\0", "[bold]"]
)
def test_refuses_what_is_no_date(written: str) -> None:
    """What names no moment is refused without repeating it."""
    with pytest.raises(EntryInvalid, match="cannot be read"):
        parse_moment(written, NOW)


@pytest.mark.parametrize("written", ["0001-01-01", "9999-12-31T23:59"])
def test_edges_of_time_never_crash(written: str) -> None:
    """The first and last day of the calendar are read or refused, never a traceback."""
    with contextlib.suppress(EntryInvalid):
        assert parse_moment(written, NOW).utcoffset() is not None


def test_now_is_the_default() -> None:
    """Words count from the moment of the command."""
    assert abs(parse_moment("1 hour ago") - datetime.now().astimezone() + timedelta(hours=1)) < timedelta(minutes=1)

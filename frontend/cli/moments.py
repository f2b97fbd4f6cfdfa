"""Dates as people write them, in the writer's own zone."""

from datetime import datetime

from backend.errors import EntryInvalid


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """The moment that `text` names, aware: ISO 8601, or words such as "yesterday" and "last friday 9pm".

    Without an offset it is the writer's local time; a weekday or a day without a year is the last one that was.

    Raises:
        EntryInvalid: it does not name a moment between the years 1 and 9999.
    """
    now = now or datetime.now().astimezone()
    try:
        moment = _iso(text.strip()) or _words(text.strip(), now)
        if moment:
            return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        # A year that the platform's time zone tables cannot reach.
        pass
    raise EntryInvalid("that date cannot be read: write it like 2024-03-15, 2024-03-15T21:00 or 'last friday 9pm'")


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _words(text: str, now: datetime) -> datetime | None:
    # A lone number would be taken for a day, an hour or a count of seconds.
    if not text or text.isdigit():
        return None
    import dateparser  # 0.1 s: only who writes a date in words waits for it

    settings = {"PREFER_DATES_FROM": "past", "RELATIVE_BASE": now.replace(tzinfo=None), "RETURN_TIME_AS_PERIOD": False}
    found: datetime | None = dateparser.parse(text, settings=settings)
    return found

"""Days and times in words."""

from datetime import date, datetime


def local_today() -> date:
    """The writer's own calendar day, now."""
    return datetime.now().astimezone().date()


def day_in_words(day: date, today: date) -> str:
    """`day` as a heading: "Today · Friday 20 November"; with its year where that is not this one."""
    words = f"{day:%A} {day.day} {day:%B}"
    if day.year != today.year:
        words += f" {day.year}"
    distance = (today - day).days
    near = {0: "Today", 1: "Yesterday", -1: "Tomorrow"}.get(distance)
    return f"{near} · {words}" if near else words


def moment_in_words(moment: datetime) -> str:
    """A day and a time in full."""
    return f"{moment:%A} {moment.day} {moment:%B} {moment.year}, {moment:%H:%M}"

"""What is going on, in words for the status line."""

from backend.domain import ModelState, ModelStatus, Status

_UNDONE = {
    "add": "The new entry is taken back.",
    "edit": "The entry is as it was before.",
    "delete": "The entry is back.",
    "reject": "It is marked again.",
    "accept": "It waits for your word again.",
    "dismiss": "It waits for your word again.",
}
_READERS = {"tagger": "tagger", "llm": "language model"}


def activity(status: Status) -> str:
    """What is being read and how much waits: "Reading · 3 wait · 1 given up"."""
    parts: list[str] = []
    if status.reading_uuid:
        parts.append("Reading")
    if status.pending:
        parts.append(f"{status.pending:,} {'waits' if status.pending == 1 else 'wait'}")
    elif not status.problem:
        parts.append("All read" if any(status.journals.values()) and not status.dead else "")
    if status.dead:
        parts.append(f"{status.dead:,} given up (r)")
    if status.unsure:
        parts.append(f"{status.unsure:,} unsure (v)")
    parts.append(status.notice)
    return " · ".join(part for part in parts if part)


def model(status: ModelStatus, reader: str) -> str:
    """Where the model stands: "tagger ready · 142 MB"."""
    # The shipped file carries a version that says nothing to a person.
    named = "" if status.kind == "tagger" else status.name
    name = named or _READERS.get(status.kind or reader, reader)
    match status.state:
        case ModelState.LOADING:
            return f"{name} loading {status.progress:.0%}"
        case ModelState.READY | ModelState.BUSY:
            return " · ".join(filter(None, (name, pace(status), f"{status.resident_mb:,.0f} MB")))
        case ModelState.UNLOADING:
            return f"{name} unloading"
        case ModelState.FAILED:
            return f"{name} failed"
        case _:
            return f"{name} at rest" if name else ""


def pace(status: ModelStatus) -> str:
    """How far the instruct model is with what it reads: "12 tokens/s, about 20 s left"; empty while it reads nothing.

    A server does not tell how far it is with a prompt, only when the answer begins.
    """
    if status.prompt_progress is None:
        return ""
    if status.answer_tokens:
        doing = f"{status.tokens_per_s:,.0f} tokens/s" if status.tokens_per_s >= 1 else "answering"
    else:
        doing = "reading prompt" + (f" {status.prompt_progress:.0%}" if status.prompt_progress else "")
    return doing + (f", about {_duration(status.seconds_left)} left" if status.seconds_left is not None else "")


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60):,} min"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 entry", "1,204 entries"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def holdings(n_entries: int, n_drafts: int) -> str:
    """What there is, as the list's remark: "1 unsaved draft: press D to continue · 3 entries"."""
    drafts = f"{plural(n_drafts, 'unsaved draft')}: press D to continue" if n_drafts else ""
    entries = plural(n_entries, "entry", "entries") if n_entries else ""
    return " · ".join(part for part in (drafts, entries) if part)


def undone(kind: str) -> str:
    """What was taken back, by the kind of change; empty for none."""
    return _UNDONE.get(kind, "There is nothing to undo.")

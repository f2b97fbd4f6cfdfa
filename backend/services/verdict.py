"""Pure: what a self-test measured, what it comes to, and how that is said."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TAGGER = "tagger"
# An answer that does not fit its schema is asked for again, six times in all. At nine valid ones in ten an entry is
# given up once in a million; at five in ten once in 64, and every entry costs two readings.
LEAST_VALID: Final = 0.9
# Below it more than every second name is wrong or missed: lists of people and places that nobody can use.
LEAST_F1: Final = 0.5
# A model that costs seconds to minutes an entry must be better than the tagger by more than nothing. A dozen entries
# with some 120 names cannot show less.
BETTER_BY: Final = 0.03


class Verdict(StrEnum):
    """What a self-test comes to."""

    GOOD = "good enough"
    NO_BETTER = "no better than the tagger"
    UNRELIABLE = "too many unusable answers"
    POOR = "not good enough"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one reader did; scores from 0 to 1."""

    # F1 of mentions, same place and same type, and where it lies in 95 of 100 draws of the entries.
    f1: float
    f1_low: float
    f1_high: float
    # The type aside.
    f1_untyped: float
    # First answers that could be used; None for a reader that writes none.
    valid: float | None
    # From the first entry to the last, by entries: what a backlog costs.
    seconds_an_entry: float
    load_s: float
    # What the process grew by; None for a server's model.
    memory_mb: float | None
    # Entries read together.
    n_parallel: int


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A finished self-test."""

    name: str
    n_entries: int
    model: Figures
    tagger: Figures
    verdict: Verdict
    # Entries of all journals, and what reading them all would take.
    n_journal: int
    journal_s: float

    @property
    def is_good(self) -> bool:
        """Whether the journal may be read with it."""
        return self.verdict is Verdict.GOOD

    def words(self) -> tuple[str, ...]:
        """The result in plain sentences, the verdict first."""
        found = self.model
        entries = f"{self.n_journal:,} {'entry' if self.n_journal == 1 else 'entries'}"
        told = [
            f"{self.verdict.value.capitalize()}: {_reason(self)}",
            f"F1 {found.f1:.2f} for names with the right type ({found.f1_untyped:.2f} without).",
            f"Reading your whole journal ({entries}) would take about {duration(self.journal_s)}.",
        ]
        if found.f1_low < found.f1_high:
            may_be = f"it may as well be {found.f1_low:.2f} or {found.f1_high:.2f}"
            told[1] += f" {self.n_entries} entries are few: {may_be}."
        if found.valid is not None:
            told.insert(2, f"{found.valid:.0%} of its answers could be used.")
        told.insert(-1, _costs(found))
        return tuple(told)


def judge(model: Figures, tagger: Figures, *, is_tagger: bool) -> Verdict:
    """Whether a model is good enough to read a journal with; see the constants for why."""
    if model.valid is not None and model.valid < LEAST_VALID:
        return Verdict.UNRELIABLE
    if model.f1 < LEAST_F1:
        return Verdict.POOR
    return Verdict.GOOD if is_tagger or model.f1 >= tagger.f1 + BETTER_BY else Verdict.NO_BETTER


def duration(seconds: float) -> str:
    """As a person says it: seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:,.0f} minutes" if seconds < 5400 else f"{seconds / 3600:,.1f} hours"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _costs(found: Figures) -> str:
    parts = [f"{_seconds(found.seconds_an_entry)} an entry"]
    parts += [f"{found.n_parallel} at a time"] if found.n_parallel > 1 else []
    parts += [f"{found.memory_mb:,.0f} MB of memory"] if found.memory_mb is not None else []
    return ", ".join([*parts, f"ready after {_seconds(found.load_s)}."])


def _against(test: SelfTest) -> str:
    return f"the tagger that comes with Charlie has F1 {test.tagger.f1:.2f} on the same entries"


def _reason(test: SelfTest) -> str:
    """What the verdict means, and what to do."""
    if test.name == TAGGER:
        advice = "" if test.is_good else " Choose another model."
        return f"the reader that comes with Charlie, on this machine.{advice}"
    reasons = {
        Verdict.GOOD: f"it may read your journal; {_against(test)}.",
        Verdict.NO_BETTER: (
            f"{_against(test)}, and takes {_seconds(test.tagger.seconds_an_entry)} each. Keep the tagger."
        ),
        Verdict.UNRELIABLE: "entries would be read several times over, and some given up. Choose another model.",
        Verdict.POOR: (
            f"half of what it says is wrong or missing, or more; {_against(test)}. "
            "Keep the tagger, or choose another model."
        ),
    }
    return reasons[test.verdict]

"""Pure decisions: retry or give up, pause or go on; times and readings of the machine are passed in."""

from dataclasses import dataclass

# Waits before the second and later tries of an entry whose reading failed.
RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
# While no model can read, the queue is tried again this often.
PAUSE_S = 30.0
# Crashes of the process by one entry, and unexplained deaths (a kill, out of memory), before it is given up.
MAX_CRASHES = 2
MAX_KILLS = 4
# Different entries that crash on the same weights before these are not used any more.
MAX_CRASHED_ENTRIES = 2
# A retry due within this time is worth holding a model for.
HOLD_S = 30.0
# An entry that could not be read for so long after it was written, because no model can read, is given up: 14 days.
MAX_UNAVAILABLE_S = 14 * 86_400.0
# Who pressed a key this lately is typing.
TYPING_S = 3.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after a while."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again by yourself; the person may."""

    reason: str


def after_failure(n_attempts: int, reason: str) -> Retry | GiveUp:
    """What to do with an entry after its `n_attempts`-th failed reading (from 1)."""
    if n_attempts <= len(RETRY_DELAYS_S):
        return Retry(RETRY_DELAYS_S[n_attempts - 1])
    return GiveUp(f"{n_attempts} readings failed; the last: {reason}")


def after_unavailability(waiting_since_s: float, now_s: float, reason: str) -> Retry | GiveUp:
    """What to do with an entry that waits since then (Unix seconds both) when no model can read."""
    if now_s - waiting_since_s <= MAX_UNAVAILABLE_S:
        return Retry(PAUSE_S)
    return GiveUp(f"no model could read it for {MAX_UNAVAILABLE_S / 86_400:.0f} days; the last reason: {reason}")


def why_wait_for_power(*, is_on_battery: bool, pause_on_battery: bool) -> str:
    """Why the instruct model rests now, and what to do; empty where it need not."""
    if not (is_on_battery and pause_on_battery):
        return ""
    return "reading waits while the computer runs on battery: plug it in, or set pause_on_battery = false"


def why_wait_for_memory(*, available_mb: float, min_free_memory_mb: int) -> str:
    """Why no instruct model is loaded now, and what to do; empty where one may be. Both in MiB."""
    if available_mb >= min_free_memory_mb:
        return ""
    return (
        f"{available_mb:,.0f} MB of memory are free and {min_free_memory_mb:,} are to stay so: "
        "close other programs, or lower min_free_memory_mb"
    )


def why_wait_for_typing(*, typed_ago_s: float, load_while_typing: bool) -> str:
    """Why no instruct model is loaded now, `typed_ago_s` after the last key; empty where one may be."""
    if load_while_typing or typed_ago_s >= TYPING_S:
        return ""
    return "the model is loaded when you pause typing; with load_while_typing = true it need not wait"


def after_death(n_crashes: int, n_kills: int) -> Retry | GiveUp:
    """What to do with an entry during whose reading the process died so often."""
    if n_crashes >= MAX_CRASHES:
        return GiveUp(f"reading it crashed the model's process {n_crashes} times")
    if n_kills >= MAX_KILLS:
        return GiveUp(f"the process ended {n_kills} times while reading it (killed, or out of memory)")
    return Retry(0.0)


def are_unusable(n_crashed_entries: int) -> bool:
    """Whether weights on which so many different entries crashed are to be left alone."""
    return n_crashed_entries >= MAX_CRASHED_ENTRIES

"""Pure decisions: retry or give up, pause or go on."""

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

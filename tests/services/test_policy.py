"""When to try again, when to give up."""

import pytest

from backend.services.policy import (
    MAX_CRASHED_ENTRIES,
    MAX_CRASHES,
    MAX_KILLS,
    RETRY_DELAYS_S,
    GiveUp,
    Retry,
    after_death,
    after_failure,
    are_unusable,
)


def test_failures_are_retried_ever_later_and_then_given_up() -> None:
    """One try more than there are waits; the last says why."""
    decisions = [after_failure(n, "why") for n in range(1, len(RETRY_DELAYS_S) + 2)]
    assert decisions[:-1] == [Retry(delay_s) for delay_s in RETRY_DELAYS_S]
    assert list(RETRY_DELAYS_S) == sorted(RETRY_DELAYS_S)
    last = decisions[-1]
    assert isinstance(last, GiveUp)
    assert last.reason == f"{len(RETRY_DELAYS_S) + 1} readings failed; the last: why"


@pytest.mark.parametrize(
    ("crashes", "kills", "gives_up"),
    [(1, 0, False), (MAX_CRASHES, 0, True), (0, MAX_KILLS - 1, False), (0, MAX_KILLS, True), (1, MAX_KILLS - 1, False)],
)
def test_deaths(crashes: int, kills: int, gives_up: bool) -> None:
    """Crashes count for more than kills, which may not be the entry's doing."""
    assert isinstance(after_death(crashes, kills), GiveUp) is gives_up


def test_two_entries_condemn_the_weights() -> None:
    """One alone is blamed itself."""
    assert not are_unusable(1)
    assert are_unusable(MAX_CRASHED_ENTRIES)

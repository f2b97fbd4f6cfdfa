"""When to try again, when to give up."""

import pytest

from backend.services.worker.policy import (
    MAX_CRASHED_ENTRIES,
    MAX_CRASHES,
    MAX_KILLS,
    MAX_UNAVAILABLE_S,
    PAUSE_S,
    RETRY_DELAYS_S,
    TYPING_S,
    GiveUp,
    Retry,
    after_death,
    after_failure,
    after_unavailability,
    are_unusable,
    why_wait_for_memory,
    why_wait_for_power,
    why_wait_for_typing,
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


def test_waiting_for_a_model_ends_after_fourteen_days() -> None:
    """Up to that time it is tried again; then the reason stays with the entry."""
    assert MAX_UNAVAILABLE_S == 14 * 24 * 3600
    assert after_unavailability(1000, 1000 + MAX_UNAVAILABLE_S, "no model") == Retry(PAUSE_S)
    assert after_unavailability(1000, 0, "the clock was set back") == Retry(PAUSE_S)
    decision = after_unavailability(1000, 1001 + MAX_UNAVAILABLE_S, "no model")
    assert isinstance(decision, GiveUp)
    assert decision.reason == "no model could read it for 14 days; the last reason: no model"


@pytest.mark.parametrize(
    ("battery", "pauses", "waits"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_power(battery: bool, pauses: bool, waits: bool) -> None:
    """It waits on battery where that was asked for."""
    assert bool(why_wait_for_power(is_on_battery=battery, pause_on_battery=pauses)) is waits


@pytest.mark.parametrize(("free_mb", "least_mb", "waits"), [(499.9, 500, True), (500, 500, False), (0, 0, False)])
def test_memory(free_mb: float, least_mb: int, waits: bool) -> None:
    """It waits below the least, not at it."""
    assert bool(why_wait_for_memory(available_mb=free_mb, min_free_memory_mb=least_mb)) is waits


@pytest.mark.parametrize(("ago_s", "loads", "waits"), [(0, False, True), (TYPING_S, False, False), (0, True, False)])
def test_typing(ago_s: float, loads: bool, waits: bool) -> None:
    """It waits for a pause of 3 s where that was asked for."""
    assert bool(why_wait_for_typing(typed_ago_s=ago_s, load_while_typing=loads)) is waits

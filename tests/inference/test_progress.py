"""How far the work is, summed up and told."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.inference.progress import Bell, Pace, Progress, Usual, together

READING = Progress(0.5, 0, 200.0, 30.0)
ANSWERING = Progress(1.0, 10, 4.0, 20.0)


def test_together() -> None:
    """The part of all prompts, all tokens, the speed of answers once there are any, and the last one's time left."""
    assert together([]) is None
    assert together([READING]) == READING
    assert together([READING, ANSWERING]) == Progress(0.75, 10, 4.0, 30.0)
    assert together([READING, READING]) == Progress(0.5, 0, 400.0, 30.0)
    assert together([Progress(0.0, 0, 0.0, None)]) == Progress(0.0, 0, 0.0, None)


@pytest.mark.parametrize(("begun", "n_new"), [((0, 40, 80), 100), ((30, 60), 70), ((30, 0), 100)])
def test_speed_counts_from_the_first_beginning(begun: tuple[int, ...], n_new: int) -> None:
    """Who waits for shared instructions is begun at every step: the first one counts, unless what was read is lost."""
    pace = Pace(None)
    started_s = time.monotonic()
    for n_before in begun:
        pace.begin(n_before)
    time.sleep(0.1)
    pace.note(100, 200, 0, Usual())
    assert pace.latest is not None
    least = n_new / (time.monotonic() - started_s)
    assert least <= pace.latest.tokens_per_s <= n_new / 0.1


def test_bell_rings_a_few_times_a_second() -> None:
    """However many threads pull it, and only while something is in work."""
    told: list[Progress] = []
    latest: list[Progress | None] = [None]
    bell = Bell(told.append, lambda: latest[0])
    bell.ring()
    assert told == []
    latest[0] = READING
    until_s = time.monotonic() + 0.7

    def pull(_thread: int) -> None:
        while time.monotonic() < until_s:
            bell.ring()
            time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(pull, range(4)))
    assert told == [READING] * len(told)
    assert 1 <= len(told) <= 2


def test_slow_listener_holds_up_nobody_else() -> None:
    """While it is being told, others who wait pass by."""
    inside, go_on = threading.Event(), threading.Event()

    def listen(_progress: Progress) -> None:
        inside.set()
        assert go_on.wait(5)

    bell = Bell(listen, lambda: READING)
    with ThreadPoolExecutor(1) as pool:
        ringing = pool.submit(bell.ring)
        assert inside.wait(5)
        started_s = time.monotonic()
        bell.ring()
        assert time.monotonic() - started_s < 1
        go_on.set()
        ringing.result(5)

"""From a key press in the editor to its character on the screen of a real terminal."""

import time
from collections.abc import Iterator
from random import Random

from tests.bench.bench import Bench, wait_while_reading
from tests.bench.figures import Figure
from tests.bench.homes import Observer, bare_app, charlie, newest_title
from tests.bench.machine import cpu_seconds
from tests.bench.quitting import is_decoding
from tests.terminal import Terminal

_SIZE = 5_000
# Somebody who types fast: the pauses between two keys, seconds.
_PAUSE_S = (0.030, 0.050)
_WORD_KEYS = 6
_EDITOR_HINT = "save and close"
_SETTLED_S = 3.0
_WARM_UP = 30
# Decoding takes a core whole; typing alone takes a tenth of one.
_BUSY_SHARE = 0.6


def measure(bench: Bench) -> list[Figure]:
    """At idle, while a model decodes in the same process, and in a bare text field."""
    count = bench.times(400, 60)
    bench.say(f"{count} keys into a bare text field")
    with bare_app("area") as terminal:
        terminal.pause(1.0)
        bare = list(_typed(terminal, count))
    bench.say(f"{count} keys into the editor")
    idle = _idle(bench, count)
    bench.say(f"{count} keys into the editor while a model decodes")
    decoding, share = _decoding(bench, count)
    note = f"a 0.6B shape, Q8_0, random weights; the process had {share:.0%} of a core meanwhile"
    return [
        Figure("keys.idle", "key to paint in the editor, idle", "ms", idle, {"p99": 15}, "-"),
        Figure("keys.decoding", "  while a model decodes", "ms", decoding, {"p99": 25}, "12 ms (bare TextArea)", note),
        Figure("keys.bare", "  a bare TextArea, idle", "ms", bare, theirs="6 ms"),
    ]


def _idle(bench: Bench, count: int) -> list[float]:
    with charlie(bench.homes.with_entries(_SIZE)) as terminal:
        terminal.wait_for_sent(newest_title(_SIZE))
        terminal.pause(_SETTLED_S)
        _open_editor(terminal)
        samples = list(_typed(terminal, count))
        _quit(terminal)
    return samples


def _decoding(bench: Bench, count: int) -> tuple[list[float], float]:
    home = bench.homes.with_waiting(8)
    with charlie(home, CHARLIE_LLM_PATH=str(bench.homes.llm())) as terminal:
        terminal.wait_for_sent("Charlie")
        with Observer(home) as observer:
            _open_editor(terminal)
            wait_while_reading(terminal, lambda: is_decoding(observer, terminal.pid), "a model call")
            terminal.pause(1.0)
            used_s, began_s = cpu_seconds(terminal.pid), time.monotonic()
            samples = list(_typed(terminal, count))
            share = (cpu_seconds(terminal.pid) - used_s) / (time.monotonic() - began_s)
        _quit(terminal)
    if share < _BUSY_SHARE:
        raise RuntimeError(f"the model was at work {share:.0%} of the time only")
    return samples, share


def _open_editor(terminal: Terminal) -> None:
    terminal.send("n")
    terminal.wait_for(_EDITOR_HINT)
    terminal.pause(0.5)


def _quit(terminal: Terminal) -> None:
    terminal.send("\x11")
    terminal.wait_gone()


def _typed(terminal: Terminal, count: int) -> Iterator[float]:
    """Milliseconds from each letter's key press to its paint; the first keys are not counted."""
    random = Random(0)
    letters = _Letters(terminal)
    for number in range(count + _WARM_UP):
        if number % _WORD_KEYS == 0 and number:
            terminal.send(" ")
            terminal.pause(random.uniform(*_PAUSE_S))
        letter = random.choice("bcdfghjklmnpqrstvwxz")
        n_before = letters.count(letter)
        sent_s = terminal.send(letter)
        seen_s = terminal.wait_until(lambda: letters.count(letter) > n_before, "the letter", timeout_s=5.0)  # noqa: B023
        if number >= _WARM_UP:
            yield 1000 * (seen_s - sent_s)
        terminal.pause(random.uniform(*_PAUSE_S))


class _Letters:
    """Counts letters in the field; only rows that were painted since are looked at again."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        # Title and key hints change too, but not with every letter.
        self._rows = {number: terminal.row(number) for number in self._field()}

    def count(self, letter: str) -> int:
        for number in self._terminal.changed_rows & self._rows.keys():
            self._rows[number] = self._terminal.row(number)
        return sum(row.count(letter) for row in self._rows.values())

    def _field(self) -> range:
        return range(1, self._terminal.n_rows - 4)

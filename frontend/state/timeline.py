"""Rows of the list of entries, and where each lies: pure arithmetic over lines."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import accumulate

from backend.domain import EpisodeSummary


@dataclass(frozen=True, slots=True)
class DayHeading:
    """The line above the entries of a day."""

    day: date


Row = DayHeading | EpisodeSummary


def rows_of(episodes: Iterable[EpisodeSummary], *, by_day: bool = True) -> tuple[Row, ...]:
    """`episodes` in their order, with a heading wherever the writer's own day changes."""
    rows: list[Row] = []
    day: date | None = None
    for episode in episodes:
        if by_day and episode.valid_at.date() != day:
            day = episode.valid_at.date()
            rows.append(DayHeading(day))
        rows.append(episode)
    return tuple(rows)


class Layout:
    """Which lines each row takes, from 0 at the top.

    Where it is roomy a blank line follows every row; else one goes before each heading but the first.
    """

    def __init__(self, rows: tuple[Row, ...], *, is_roomy: bool) -> None:
        self.rows = rows
        self._is_roomy = is_roomy
        self._tops = [0, *accumulate(self._height(index) for index in range(len(rows)))]
        self._by_uuid = {row.uuid: index for index, row in enumerate(rows) if isinstance(row, EpisodeSummary)}

    def _height(self, index: int) -> int:
        row = self.rows[index]
        if isinstance(row, EpisodeSummary):
            return (2 if row.preview else 1) + self._is_roomy
        return 2 if self._is_roomy or index else 1

    def heading_line(self, index: int) -> int:
        """Which line of a heading its words are on."""
        return 0 if self._is_roomy or index == 0 else 1

    @property
    def n_lines(self) -> int:
        """Lines of all rows together."""
        return self._tops[-1]

    def row_at(self, line: int) -> tuple[int, int] | None:
        """Index of the row at `line` and the line within it; None below the last row."""
        if not 0 <= line < self.n_lines:
            return None
        index = bisect_right(self._tops, line) - 1
        return index, line - self._tops[index]

    def span(self, index: int) -> tuple[int, int]:
        """First line of a row and its number of lines."""
        return self._tops[index], self._tops[index + 1] - self._tops[index]

    def index_of(self, uuid: str) -> int | None:
        """Where the entry stands among the rows."""
        return self._by_uuid.get(uuid)

    def entry_from(self, index: int, step: int) -> int | None:
        """The nearest row at or after `index`, in the direction of `step`, that is an entry."""
        while 0 <= index < len(self.rows):
            if isinstance(self.rows[index], EpisodeSummary):
                return index
            index += step
        return None

"""The pure parts under the screens."""

from dataclasses import replace
from datetime import UTC, date, datetime

from backend.domain import (
    EntityType,
    EpisodeStatus,
    EpisodeSummary,
    ModelState,
    ModelStatus,
    Status,
)
from frontend.state.cells import fit, one_line, with_pictures
from frontend.state.days import day_in_words
from frontend.state.entry import quotation
from frontend.state.marking import Mark, place
from frontend.state.timeline import DayHeading, Layout, rows_of
from frontend.state.wording import activity, model, pace


def _mark(source: str, words: str, nth: int = 0) -> Mark:
    start = -1
    for _ in range(nth + 1):
        start = source.index(words, start + 1)
    return Mark(start, start + len(words), EntityType.PERSON, words)


def _placed(source: str, rendered: str, *marks: Mark) -> list[str]:
    return [f"{mark.start}:{rendered[mark.start : mark.end]}" for mark in place(source, rendered, marks)]


def test_marks_follow_the_text_through_markdown() -> None:
    """Signs that are not shown move everything after them."""
    source = "Saw **Anna** and [Tom](http://Tom.example/Anna), then _Anna_."
    rendered = "Saw Anna and Tom, then Anna."
    marks = (_mark(source, "Anna"), _mark(source, "Tom"), _mark(source, "Anna", 2))
    assert _placed(source, rendered, *marks) == ["4:Anna", "13:Tom", "23:Anna"]


def test_a_mark_of_what_is_not_shown_is_dropped() -> None:
    """The address of a link is in the source alone."""
    source = "see [here](http://Anna.example)"
    assert _placed(source, "see here", _mark(source, "Anna")) == []


def test_a_mark_over_white_space_that_was_joined_is_found() -> None:
    """Rendering makes one space of several."""
    source = "to  New   York  City"
    assert _placed(source, "to New York City", _mark(source, "New   York")) == ["3:New York"]


def test_a_mark_is_found_again_after_characters_that_were_added() -> None:
    """A picture's sign is in the rendered text alone."""
    source = "![x](y) with Anna"
    assert _placed(source, "🖼  x with Anna", _mark(source, "Anna")) == ["10:Anna"]


def test_text_takes_exactly_the_cells_it_is_given() -> None:
    """Wide and combining characters count as a terminal counts them."""
    assert fit("日本語", 4) == "日 …"
    assert fit("e\u0301a", 4) == "e\u0301a  "
    assert fit("abc", 0) == ""


def test_nothing_in_a_line_is_obeyed_by_a_terminal() -> None:
    """Controls are shown, separators become spaces, and pictures keep every offset."""
    assert one_line("a\x1b[2J\tb\u2028c\x9b") == r"a\x1b[2J b c\x9b"
    text = "a\x1b\r\x00\x7f\x85\tb\n"
    assert len(with_pictures(text)) == len(text)
    assert with_pictures(text) == "a␛␍␀␡\ufffd\tb\n"


def _summary(uuid: str, day: int, preview: str = "p") -> EpisodeSummary:
    return EpisodeSummary(uuid, "default", "t", preview, datetime(2026, 3, day, 9, tzinfo=UTC), EpisodeStatus.DONE)


def test_rows_are_found_by_line() -> None:
    """A day's heading, then its entries, each with room below where there is room."""
    layout = Layout(rows_of([_summary("a", 2), _summary("b", 2, ""), _summary("c", 1)]), is_roomy=True)
    assert [type(row) is DayHeading for row in layout.rows] == [True, False, False, True, False]
    assert layout.n_lines == 2 + 3 + 2 + 2 + 3
    assert layout.row_at(4) == (1, 2)
    assert layout.row_at(5) == (2, 0)
    assert layout.row_at(layout.n_lines) is None
    assert layout.index_of("c") == 4
    assert layout.entry_from(3, 1) == 4
    assert layout.entry_from(0, -1) is None


def test_days_in_words() -> None:
    """Near days by name, far ones with their year."""
    today = date(2026, 3, 14)
    assert day_in_words(today, today) == "Today · Saturday 14 March"
    assert day_in_words(date(2026, 3, 13), today) == "Yesterday · Friday 13 March"
    assert day_in_words(date(2025, 1, 1), today) == "Wednesday 1 January 2025"


def test_a_quotation_is_the_line_that_names_it() -> None:
    """Cut at its beginning where the name is far into the line."""
    text = "first\nI saw Anna there.\nlast"
    assert quotation(text, 12, 16) == "I saw Anna there."
    long = "word " * 30 + "Anna came."
    cut = quotation(long, 150, 154)
    assert cut.startswith("… word")
    assert cut.endswith("Anna came.")
    assert len(cut) < 60


def test_the_status_line_in_words() -> None:
    """What is read, what waits, and the model with its load."""
    loading = ModelStatus(ModelState.LOADING, "qwen.gguf", "llm", 1, 300.0, progress=0.42)
    status = Status({"default": 3}, 2, 1, loading, "llm", reading_uuid="x")
    assert activity(status) == "Reading · 2 wait · 1 given up (r)"
    assert model(loading, "llm") == "qwen.gguf loading 42%"
    ready = ModelStatus(ModelState.READY, "", "tagger", 1, 142.4)
    assert model(ready, "tagger") == "tagger · 142 MB"
    shipped = replace(ready, name="charlie-tagger-v9.q8_0.gguf")
    assert model(shipped, "tagger") == model(shipped, "llm") == "tagger · 142 MB"
    assert activity(Status({"default": 3}, 0, 0, ready, "tagger")) == "All read"
    assert activity(Status({}, 0, 0, ready, "tagger")) == ""


def test_what_is_in_work_in_words() -> None:
    """The part of the prompt while it is read, then speed and time left; nothing while nothing is in work."""
    busy = ModelStatus(ModelState.BUSY, "qwen.gguf", "llm", 1, 300.0)
    assert pace(busy) == ""
    reading = replace(busy, prompt_progress=0.4)
    assert pace(reading) == "reading prompt 40%"
    assert pace(replace(reading, prompt_progress=0.0)) == "reading prompt"
    assert pace(replace(reading, seconds_left=200)) == "reading prompt 40%, about 3 min left"
    answering = replace(busy, prompt_progress=1.0, answer_tokens=9, tokens_per_s=12.3, seconds_left=20.2)
    assert pace(answering) == "12 tokens/s, about 20 s left"
    assert model(answering, "llm") == "qwen.gguf · 12 tokens/s, about 20 s left · 300 MB"

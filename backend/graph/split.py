"""Pure: cut a text that is longer than a model's context at sentence ends, and find where it was cut."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backend.text import sentences


@dataclass(frozen=True, slots=True)
class TextLimit:
    """How long a text may be to be read at once."""

    n_tokens: int
    count_tokens: Callable[[str], int]


def pieces(text: str, limit: TextLimit | None) -> Iterator[tuple[int, str]]:
    """Pieces of `text` within the limit, each with its offset in code points; together they cover every sentence.

    One piece, the text itself, when it fits or there is no limit. Only a sentence longer than the limit is cut inside.
    """
    if limit is None or limit.count_tokens(text) <= limit.n_tokens:
        yield 0, text
        return
    count_tokens, limit_tokens = limit.count_tokens, limit.n_tokens
    start = end = 0
    used = 0
    for first, last in _short_sentences(text, count_tokens, limit_tokens):
        # The white space between two sentences is a token at least, and hundreds of blank lines are many.
        gap = max(1, count_tokens(text[end:first]))
        cost = count_tokens(text[first:last])
        if end > start and used + gap + cost > limit_tokens:
            yield start, text[start:end]
            used = 0
        start, used = (start, used + gap + cost) if used else (first, cost)
        end = last
    if end > start:
        yield start, text[start:end]


def _short_sentences(text: str, count_tokens: Callable[[str], int], limit_tokens: int) -> Iterator[tuple[int, int]]:
    for start, end in sentences(text):
        yield from _halves(text, start, end, count_tokens, limit_tokens)


def _halves(
    text: str, start: int, end: int, count_tokens: Callable[[str], int], limit_tokens: int
) -> Iterator[tuple[int, int]]:
    # A token is at least one byte and a code point at most four: shorter than this always fits.
    if (end - start) * 4 < limit_tokens or count_tokens(text[start:end]) + 1 <= limit_tokens or end - start < 2:
        yield start, end
        return
    middle = (start + end) // 2
    space = text.rfind(" ", start + 1, middle)
    cut = space if space > start else middle
    yield from _halves(text, start, cut, count_tokens, limit_tokens)
    yield from _halves(text, cut, end, count_tokens, limit_tokens)

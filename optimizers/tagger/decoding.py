"""Pure: from a network's chances to mentions, by the application's own rules; and how sure of them one may be."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from backend.domain import Span
from backend.inference.tag_head import TYPES as ENTITY_TYPES
from backend.inference.tag_head import likeliest, tagged_words
from backend.inference.tag_input import Pieces
from backend.inference.tag_words import spans_of
from optimizers.tagger.examples import TYPES, Example, Marked, examples

CODES: Final = dict(zip(ENTITY_TYPES, TYPES, strict=True))
_STEPS: Final = 2_000


class Scores(NamedTuple):
    """F1 of exact spans, with the right type and with the type aside."""

    typed: float
    untyped: float


def predict(
    texts: Sequence[Marked], pieces: Pieces, log_chances: Callable[[Sequence[Example]], Sequence[Any]]
) -> list[list[tuple[str, Span]]]:
    """What is found in each text: code of the type and span, confidence as the network has it.

    `log_chances` gives, per window, the logarithms of its words' labels, shape (words, labels).
    """
    made = [(number, example) for number, marked in enumerate(texts) for example in examples([marked], pieces)]
    found: list[list[tuple[str, Span]]] = [[] for _ in texts]
    for (number, example), row in zip(made, log_chances([example for _, example in made]), strict=True):
        tagged = tagged_words(example.window, likeliest(row), np.exp(row))
        found[number].extend((CODES[type_], span) for type_, span in spans_of(tagged, texts[number].text))
    return found


def score(texts: Sequence[Marked], found: Sequence[Sequence[tuple[str, Span]]]) -> Scores:
    """How well `found` agrees with the marks."""
    n_typed = n_untyped = n_told = 0
    for marked, spans in zip(texts, found, strict=True):
        gold = set(marked.spans)
        own = {(span.start, span.end, type_) for type_, span in spans}
        n_typed += len(gold & own)
        n_untyped += len({one[:2] for one in gold} & {one[:2] for one in own})
        n_told += len(gold) + len(own)
    return Scores(2 * n_typed / max(1, n_told), 2 * n_untyped / max(1, n_told))


def calibrate(texts: Sequence[Marked], found: Sequence[Sequence[tuple[str, Span]]]) -> Any:
    """Per type, slope and offset of the logit of confidence under which it is the share of right ones; (4, 2).

    Platt 1999, with his smoothed targets, by gradient descent.
    """
    rows = list(_judged(texts, found))
    fitted = np.tile(np.asarray([1.0, 0.0]), (len(TYPES), 1))
    for index, type_ in enumerate(TYPES):
        chances = np.asarray([chance for code, chance, _ in rows if code == type_])
        right = np.asarray([is_right for code, _, is_right in rows if code == type_], dtype=float)
        if len(right) < 20:
            continue
        n_right, n_wrong = right.sum(), len(right) - right.sum()
        target = np.where(right > 0, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
        fitted[index] = _platt(np.log(chances / (1 - chances)), target)
    return fitted


def _platt(logits: Any, target: Any) -> Any:
    slope, offset = 1.0, 0.0
    for _ in range(_STEPS):
        error = 1 / (1 + np.exp(-(slope * logits + offset))) - target
        slope -= 0.05 * float((error * logits).mean())
        offset -= 0.05 * float(error.mean())
    return slope, offset


def _judged(texts: Sequence[Marked], found: Sequence[Sequence[tuple[str, Span]]]) -> Iterator[tuple[str, float, bool]]:
    for marked, spans in zip(texts, found, strict=True):
        gold = set(marked.spans)
        for type_, span in spans:
            chance = min(max(span.confidence, 1e-6), 1 - 1e-6)
            yield type_, chance, (span.start, span.end, type_) in gold

"""Pure: what the tagger's head sees beside the encoder's vectors, and what its answer means; alike in training."""

from typing import Any, Final

import numpy as np

from backend.domain import EntityType
from backend.inference.tag_input import N_MARKS, Window, marks_of
from backend.inference.tag_words import Tagged, Word

# Two labels each, after O: B- and I-.
TYPES: Final = (EntityType.PERSON, EntityType.PLACE, EntityType.GROUP, EntityType.ACTIVITY)
N_LABELS: Final = 1 + 2 * len(TYPES)
_IMPOSSIBLE: Final = np.float32(-1e4)
_ALL_LABELS: Final = np.arange(N_LABELS)
_IS_INSIDE: Final = (_ALL_LABELS > 0) & (_ALL_LABELS % 2 == 0)
_MAY_BEGIN: Final = np.where(_IS_INSIDE, _IMPOSSIBLE, np.float32(0))
# From label (row) to label (column): I- after its own B- or I- only.
_MAY_FOLLOW: Final = np.where(
    _IS_INSIDE[None, :] & (((_ALL_LABELS[:, None] + 1) // 2) != (_ALL_LABELS[None, :] // 2)), _IMPOSSIBLE, np.float32(0)
)


def features_of(window: Window) -> Any:
    """The marks of each word, of the one before and of the one after; float32, shape (words, 3 * N_MARKS)."""
    marks = np.asarray([marks_of(one.word.text) for one in window.read], dtype=np.float32)
    none = np.zeros((1, N_MARKS), dtype=np.float32)
    return np.concatenate([marks, np.concatenate([none, marks[:-1]]), np.concatenate([marks[1:], none])], axis=1)


def likeliest(log_chances: Any) -> list[int]:
    """The likeliest run of labels in which I- only follows its own type; from shape (words, labels)."""
    before = log_chances[0] + _MAY_BEGIN
    steps = []
    for row in log_chances[1:]:
        scores = before[:, None] + _MAY_FOLLOW
        best = scores.argmax(axis=0)
        steps.append(best)
        before = scores[best, _ALL_LABELS] + row
    labels = [int(before.argmax())]
    for best in reversed(steps):
        labels.append(int(best[labels[-1]]))
    return labels[::-1]


def tagged_words(window: Window, labels: list[int], chances: Any) -> list[Tagged]:
    """The window's own words by their labels; `chances` has shape (words, labels)."""
    own = zip(window.read, labels, chances, strict=True)
    return [_tagged(one.word, label, row) for one, label, row in list(own)[window.first_own :]]


def _tagged(word: Word, label: int, chances: Any) -> Tagged:
    if label == 0:
        return Tagged(word, None, False, float(chances[0]))
    kind, inside = divmod(label - 1, 2)
    return Tagged(word, TYPES[kind], not inside, float(chances[1 + 2 * kind] + chances[2 + 2 * kind]))

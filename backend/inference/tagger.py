"""The reader that ships with Charlie: a small encoder and a head over it, milliseconds an entry on any CPU.

The head is exactly that of the training script: it sees each token's vector, four marks of its word, and the marks
of its neighbours. It was trained on a sentence or a few at a time, so short sentences of a line are read together
(F1 on 240 of the training passages: 0.931 with up to 20 words, 0.924 one by one, 0.912 with 80). These pieces share
a batch and do not see each other, which gives the vectors of one at a time at half the cost.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import numpy as np

from backend.domain import EntityType, Provenance, ReaderKind, Reading, Span
from backend.errors import Stopped, WeightsMissing, WeightsUnusable
from backend.inference.encoder import BATCH_TOKENS, Encoder, Floats
from backend.inference.loader import LoadedModel
from backend.inference.tag_words import Tagged, Word, grouped, spans_of, words_of
from backend.inference.weights import fingerprint
from backend.text import sentences

_CLS, _SEP, _UNKNOWN = 101, 102, 100
# Sentences of one line are read together up to so many words.
_TOGETHER_WORDS: Final = 20
# Longer sentences are cut between words: attention over more buys nothing, and memory grows with it.
_WINDOW_TOKENS: Final = 256
# Different words whose tokens are remembered; a million-character entry has fewer.
_KNOWN_WORDS: Final = 20_000
# Two labels each, after O: B- and I-.
_TYPES: Final = (EntityType.PERSON, EntityType.PLACE, EntityType.GROUP, EntityType.ACTIVITY)


@dataclass(frozen=True, slots=True)
class _Window:
    words: list[Word]
    # Per word, its tokens.
    pieces: list[tuple[int, ...]]

    @property
    def tokens(self) -> list[int]:
        return [_CLS, *(token for piece in self.pieces for token in piece), _SEP]


class Tagger:
    """Finds people, places, groups and activities; thread-safe as far as its model is."""

    def __init__(self, model: LoadedModel, head_path: Path, *, cache_dir: Path | None = None) -> None:
        """Raises WeightsMissing or WeightsUnusable where the head is not there or does not fit the encoder."""
        self._encoder = Encoder(model)
        self._head = _Head.load(head_path, model.n_embd)
        # Of the model and not of this object: a circle would outlive the model until the collector comes by.
        self._pieces = lru_cache(_KNOWN_WORDS)(partial(_tokenize, model))
        # Encoder and head change together or apart: the mark covers both.
        weights = f"{fingerprint(model.path, cache_dir)[:8]}{fingerprint(head_path, cache_dir)[:8]}"
        self.provenance: Final = Provenance(ReaderKind.TAGGER, weights, "")

    def read(
        self,
        text: str,
        reference_time: datetime | None = None,
        *,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Reading:
        """What is named in `text`, at any length; about 0.3 ms a word on two cores.

        Raises:
            Stopped: `stopping` said so; asked before every batch of about 100 words.
        """
        spans: list[tuple[EntityType, Span]] = []
        for batch in _batches(self._windows(text)):
            if stopping():
                raise Stopped
            states = self._encoder.encode([window.tokens for window in batch], pooled=False)
            for window, vectors in zip(batch, states, strict=True):
                spans.extend(spans_of(self._head.tag(window, vectors), text))
        return Reading(grouped(spans), self.provenance)

    def _windows(self, text: str) -> Iterator[_Window]:
        for start, end in _passages(text):
            window = _Window([], [])
            room = _WINDOW_TOKENS - 2
            for word in words_of(text, start, end):
                pieces = self._pieces(word.text)[: _WINDOW_TOKENS - 2]
                if len(pieces) > room:
                    yield window
                    window, room = _Window([], []), _WINDOW_TOKENS - 2
                window.words.append(word)
                window.pieces.append(pieces)
                room -= len(pieces)
            if window.words:
                yield window


@dataclass(frozen=True, slots=True)
class _Head:
    """Two layers in numpy; shapes (hidden, width + 12), (hidden,), (9, hidden), (9,)."""

    h_weight: Floats
    h_bias: Floats
    o_weight: Floats
    o_bias: Floats

    @classmethod
    def load(cls, path: Path, width: int) -> "_Head":
        try:
            with np.load(path, allow_pickle=False) as file:
                head = cls(*(file[name].astype(np.float32) for name in ("h_weight", "h_bias", "o_weight", "o_bias")))
        except FileNotFoundError:
            raise WeightsMissing(path) from None
        except (OSError, ValueError, KeyError) as error:
            raise WeightsUnusable(path, "it is no tagger head: copy it again") from error
        if head.h_weight.shape[1:] != (width + 12,) or head.o_weight.shape[0] != 1 + 2 * len(_TYPES):
            raise WeightsUnusable(path, "it belongs to another encoder")
        return head

    def tag(self, window: _Window, vectors: Floats) -> list[Tagged]:
        """What each word of the window is, by the label of its first token."""
        marks = _marks(window)
        inputs = np.concatenate([vectors, marks, np.roll(marks, 1, axis=0), np.roll(marks, -1, axis=0)], axis=1)
        firsts = np.cumsum([1, *(len(piece) for piece in window.pieces[:-1])])
        # Not the @ operator: BLAS's second thread spins after every call and takes the core that llama.cpp needs,
        # which doubles the CPU time of a reading; einsum costs 0.8 ms for 150 words instead of 0.1.
        hidden = _gelu(np.einsum("ij,kj->ik", inputs[firsts], self.h_weight) + self.h_bias)
        chances = _softmax(np.einsum("ij,kj->ik", hidden, self.o_weight) + self.o_bias)
        return [_tagged(word, row) for word, row in zip(window.words, chances, strict=True)]


def _tokenize(model: LoadedModel, word: str) -> tuple[int, ...]:
    return tuple(model.tokenize(word)) or (_UNKNOWN,)


def _tagged(word: Word, chances: Floats) -> Tagged:
    label = int(chances.argmax())
    if label == 0:
        return Tagged(word, None, False, float(chances[0]))
    kind, inside = divmod(label - 1, 2)
    return Tagged(word, _TYPES[kind], not inside, float(chances[1 + 2 * kind] + chances[2 + 2 * kind]))


def _passages(text: str) -> Iterator[tuple[int, int]]:
    """Sentences, and short neighbours on one line together; offsets, end exclusive."""
    begin = end = n_words = 0
    for start, stop in sentences(text):
        n_more = text.count(" ", start, stop) + 1
        if n_words and (n_words + n_more > _TOGETHER_WORDS or "\n" in text[end:start]):
            yield begin, end
            n_words = 0
        if not n_words:
            begin = start
        end = stop
        n_words += n_more
    if n_words:
        yield begin, end


def _batches(windows: Iterator[_Window]) -> Iterator[list[_Window]]:
    """Windows that share a call into llama.cpp; made as they are asked for, so memory stays bounded."""
    batch: list[_Window] = []
    used = 0
    for window in windows:
        length = len(window.tokens)
        if batch and used + length > BATCH_TOKENS:
            yield batch
            batch, used = [], 0
        batch.append(window)
        used += length
    if batch:
        yield batch


def _marks(window: _Window) -> Floats:
    rows = [(0.0, 0.0, 0.0, 0.0)]
    for word, pieces in zip(window.words, window.pieces, strict=True):
        rows.extend([_marks_of(word.text)] * len(pieces))
    rows.append((0.0, 0.0, 0.0, 0.0))
    return np.asarray(rows, dtype=np.float32)


def _marks_of(word: str) -> tuple[float, float, float, float]:
    return (
        float(word[:1].isupper()),
        float(word.isupper() and len(word) > 1),
        float(word.istitle()),
        float(any(char.isdigit() for char in word)),
    )


def _gelu(x: Floats) -> Floats:
    """The exact form, with erf by Abramowitz and Stegun 7.1.26 (error under 1.5e-7; numpy has none)."""
    z = np.abs(x) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1.0 - series * np.exp(-z * z))
    return np.asarray(0.5 * x * (1.0 + erf), dtype=np.float32)


def _softmax(x: Floats) -> Floats:
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)

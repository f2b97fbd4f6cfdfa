"""The reader that ships with Charlie: a small encoder and a head over it, milliseconds an entry on any CPU.

`tag_input` says what the network sees; `optimizers/train_tagger.py` makes the weights. A mention's confidence is
calibrated: of those with 0.9, nine in ten were right on entries that nothing was trained on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from backend.domain import EntityType, Provenance, ReaderKind, Reading, Span
from backend.errors import Stopped, WeightsMissing, WeightsUnusable
from backend.inference.encoder import BATCH_TOKENS, Encoder, Floats
from backend.inference.loader import LoadedModel
from backend.inference.tag_head import N_LABELS, TYPES, features_of, likeliest, tagged_words
from backend.inference.tag_input import N_MARKS, UNKNOWN, Window, windows
from backend.inference.tag_words import Tagged, calibrated, grouped, spans_of
from backend.inference.weights import fingerprint

# Different words whose tokens are remembered; a million-character entry has fewer.
_KNOWN_WORDS: Final = 20_000


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
        """What is named in `text`, at any length; about 0.6 ms a word of prose on two cores.

        Raises:
            Stopped: `stopping` said so; asked before every batch of about 100 words.
        """
        spans: list[tuple[EntityType, Span]] = []
        lines = dict(zip(TYPES, self._head.calibration, strict=True))
        for batch in _batches(windows(text, self._pieces)):
            if stopping():
                raise Stopped
            states = self._encoder.encode([window.tokens for window in batch], pooled=False)
            for window, vectors in zip(batch, states, strict=True):
                for type_, span in spans_of(self._head.tag(window, vectors), text):
                    if sure := calibrated(span, lines[type_]):
                        spans.append((type_, sure))
        return Reading(grouped(spans), self.provenance)


@dataclass(frozen=True, slots=True)
class _Head:
    """Two layers in numpy; shapes (hidden, width + 12), (hidden,), (9, hidden), (9,)."""

    hidden_weight: Floats
    hidden_bias: Floats
    out_weight: Floats
    out_bias: Floats
    # Per type, slope and offset of the logit of its mentions' confidence; shape (4, 2).
    calibration: Floats

    @classmethod
    def load(cls, path: Path, width: int) -> "_Head":
        try:
            # numpy leaves a file open that turns out to be no archive.
            with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
                head = cls(*(file[name].astype(np.float32) for name in cls.__slots__))
        except FileNotFoundError:
            raise WeightsMissing(path) from None
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError) as error:
            raise WeightsUnusable(path, "it is no tagger head: copy it again") from error
        n_hidden = head.hidden_bias.size
        fitting = ((n_hidden, width + 3 * N_MARKS), (n_hidden,), (N_LABELS, n_hidden), (N_LABELS,), (len(TYPES), 2))
        if tuple(getattr(head, name).shape for name in cls.__slots__) != fitting:
            raise WeightsUnusable(path, "it belongs to another encoder")
        return head

    def tag(self, window: Window, vectors: Floats) -> list[Tagged]:
        """What each of the window's own words is, by the likeliest run of labels."""
        inputs = np.concatenate([vectors[window.firsts], features_of(window)], axis=1)
        # Not the @ operator: BLAS's second thread spins after every call and takes the core that llama.cpp needs,
        # which doubles the CPU time of a reading; einsum costs 0.8 ms for 150 words instead of 0.1.
        hidden = _gelu(np.einsum("ij,kj->ik", inputs, self.hidden_weight) + self.hidden_bias)
        chances = _softmax(np.einsum("ij,kj->ik", hidden, self.out_weight) + self.out_bias)
        return tagged_words(window, likeliest(np.log(chances + np.float32(1e-9))), chances)


def _tokenize(model: LoadedModel, word: str) -> tuple[int, ...]:
    return tuple(model.tokenize(word)) or (UNKNOWN,)


def _batches(read: Iterator[Window]) -> Iterator[list[Window]]:
    """Windows that share a call into llama.cpp; made as they are asked for, so memory stays bounded."""
    batch: list[Window] = []
    used = 0
    for window in read:
        if batch and used + window.n_tokens > BATCH_TOKENS:
            yield batch
            batch, used = [], 0
        batch.append(window)
        used += window.n_tokens
    if batch:
        yield batch


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

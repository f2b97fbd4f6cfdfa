"""Sentence vectors for search and for telling entities apart: MiniLM, or another encoder, through llama.cpp."""

from collections.abc import Iterator, Sequence

import numpy as np

from backend.inference.encoder import Encoder, Floats
from backend.inference.loader import LoadedModel


class Embedder:
    """Turns texts into vectors whose dot product is their likeness; thread-safe as far as its model is."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._encoder = Encoder(model)
        self._begin, self._end = model.frame

    @property
    def n_dimensions(self) -> int:
        """Length of a vector."""
        return self._model.n_embd

    def embed(self, texts: Sequence[str]) -> Floats:
        """One row a text: (n, width) float32, of length 1; (0, width) for no texts. MiniLM's width is 384.

        A text longer than the encoder's window is cut into windows, and the windows' means are averaged by length.
        """
        rows = np.zeros((len(texts), self.n_dimensions), dtype=np.float32)
        windows = [(row, window) for row, text in enumerate(texts) for window in self._windows(text)]
        vectors = self._encoder.encode([window for _, window in windows], pooled=True)
        for (row, window), vector in zip(windows, vectors, strict=True):
            rows[row] += vector * len(window)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)

    def _windows(self, text: str) -> Iterator[list[int]]:
        tokens = self._model.tokenize(text)
        size = self._encoder.window - len(self._begin) - len(self._end)
        for start in range(0, max(len(tokens), 1), size):
            yield [*self._begin, *tokens[start : start + size], *self._end]

"""How well texts answer a query, by a model that reads both together: a finer sieve behind the search by vectors."""

from collections.abc import Iterator, Sequence
from typing import Final

from backend.inference.encoder import Encoder
from backend.inference.loader import LoadedModel

# A query may take this part of the window; the rest of a longer one is left out.
_MOST_OF_WINDOW: Final = 0.5


class Reranker:
    """Scores documents against a query; thread-safe as far as its model is."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._encoder = Encoder(model)
        self._begin, self._between, self._end = _frame(model)
        # Tokens of query and document together.
        self._room = self._encoder.window - len(self._begin) - len(self._between) - len(self._end)

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """One number a document, in order, the larger the better; only their order means anything.

        A document longer than the model's window is cut into windows, and the best of them counts. Raises
        InferenceError as `Encoder.encode`.
        """
        asked = self._model.tokenize(query)[: int(self._room * _MOST_OF_WINDOW)]
        pairs = [
            (index, self._begin + asked + self._between + window + self._end)
            for index, document in enumerate(documents)
            for window in self._windows(document, self._room - len(asked))
        ]
        best = [float("-inf")] * len(documents)
        found = self._encoder.encode([tokens for _, tokens in pairs], pooled=True)
        for (index, _), outputs in zip(pairs, found, strict=True):
            best[index] = max(best[index], float(outputs[0]))
        return best

    def _windows(self, document: str, size: int) -> Iterator[list[int]]:
        tokens = self._model.tokenize(document)
        for start in range(0, max(len(tokens), 1), size):
            yield tokens[start : start + size]


def _frame(model: LoadedModel) -> tuple[list[int], list[int], list[int]]:
    """What stands before a query, between it and a document, and after: `[CLS] q [SEP] d [SEP]` for BERT.

    Between them is what llama-server puts there, by what the vocabulary says it adds.
    """
    begin, end = model.frame
    between = (model.added_token("eos"), model.added_token("sep"))
    return begin, [token for token in between if token is not None], end

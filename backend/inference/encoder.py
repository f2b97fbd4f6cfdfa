"""Runs token windows through one of the small encoders, several short texts at once."""

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backend.errors import InferenceError
from backend.inference.batch import TokenBatch
from backend.inference.bindings import bindings
from backend.inference.loader import N_BATCH, LoadedModel

type Floats = NDArray[np.float32]

# Tokens of several texts that share a batch. llama.cpp keeps room for the logits of every token even where only
# vectors are asked for (0.12 MB each with 30,522 words): 512 would cost 62 MB, and read a token no quicker than 224.
BATCH_TOKENS: Final = 224


def pack(lengths: Sequence[int], *, room: int, most: int) -> Iterator[range]:
    """Runs of neighbours that fit into one batch of `room` tokens and `most` texts, in order.

    A text longer than `room` stands alone.
    """
    start = used = 0
    for index, length in enumerate(lengths):
        if index > start and (used + length > room or index - start == most):
            yield range(start, index)
            start, used = index, 0
        used += length
    if start < len(lengths):
        yield range(start, len(lengths))


class Encoder:
    """The vectors of texts that are already tokens; thread-safe."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.window = min(N_BATCH, model.n_ctx_tokens)
        self._batch = TokenBatch(self.window)

    def encode(self, texts: Sequence[Sequence[int]], *, pooled: bool) -> list[Floats]:
        """One array a text, in order: (tokens, width), or when the model pools (width,), of a reranker its outputs.

        The texts do not see each other, whatever batch they share: the result is that of one text at a time.

        Raises:
            InferenceError: a text is longer than `window`, or llama.cpp refuses the batch.
        """
        found: list[Floats] = []
        room = min(BATCH_TOKENS, self.window)
        for run in pack([len(text) for text in texts], room=room, most=self.model.settings.n_sequences):
            found.extend(self._encode_batch([texts[index] for index in run], pooled=pooled))
        return found

    def _encode_batch(self, texts: Sequence[Sequence[int]], *, pooled: bool) -> list[Floats]:
        n_tokens = sum(len(text) for text in texts)
        if n_tokens > self.window:
            raise InferenceError(f"{n_tokens} tokens do not fit an encoder's window of {self.window}")
        api, model = bindings(), self.model
        with model.lock:
            context = model.context
            self._batch.clear()
            for number, tokens in enumerate(texts):
                self._batch.add(tokens, position=0, sequence=number, outputs="all")
            status = api.llama_encode(context, self._batch.struct)
            if status != 0:
                raise InferenceError(f"llama.cpp could not encode {n_tokens} tokens (status {status})")
            if pooled:
                return [_copy(api.llama_get_embeddings_seq(context, n), (model.n_pooled,)) for n in range(len(texts))]
            states = _copy(api.llama_get_embeddings(context), (n_tokens, model.n_embd))
        ends = np.cumsum([len(text) for text in texts])[:-1]
        return list(np.split(states, ends))


def _copy(pointer: Any, shape: tuple[int, ...]) -> Floats:
    """A copy of what the library will overwrite at the next call."""
    if not pointer:
        raise InferenceError("llama.cpp gave no vectors")
    address = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(address, shape=shape).astype(np.float32, copy=True)

"""A `llama_batch` whose memory Python owns: nothing to free, nothing to leak."""

import ctypes
from collections.abc import Sequence
from typing import Any

from backend.inference.bindings import bindings


class TokenBatch:
    """Up to `size` tokens of one or several sequences, for one call into llama.cpp; refilled from call to call."""

    def __init__(self, size: int) -> None:
        self._tokens = (ctypes.c_int32 * size)()
        self._positions = (ctypes.c_int32 * size)()
        self._n_sequences = (ctypes.c_int32 * size)(*([1] * size))
        self._sequences = (ctypes.c_int32 * size)()
        self._wanted = (ctypes.c_int8 * size)()
        pointer = ctypes.POINTER(ctypes.c_int32)
        start, step = ctypes.addressof(self._sequences), ctypes.sizeof(ctypes.c_int32)
        addresses = (ctypes.cast(start + step * index, pointer) for index in range(size))
        self._sequence_pointers = (pointer * size)(*addresses)
        self.struct: Any = bindings().llama_batch()
        self.struct.token = ctypes.cast(self._tokens, pointer)
        self.struct.pos = ctypes.cast(self._positions, pointer)
        self.struct.n_seq_id = ctypes.cast(self._n_sequences, pointer)
        self.struct.seq_id = ctypes.cast(self._sequence_pointers, ctypes.POINTER(pointer))
        self.struct.logits = ctypes.cast(self._wanted, ctypes.POINTER(ctypes.c_int8))

    def clear(self) -> None:
        """Make it empty."""
        self.struct.n_tokens = 0

    def add(self, tokens: Sequence[int], *, position: int, sequence: int, outputs: str = "last") -> int:
        """Append `tokens` of `sequence`, the first at `position`; where the last of them stands.

        `outputs` is "all", "last" or "none".
        """
        at, n = self.struct.n_tokens, len(tokens)
        end = at + n
        self._tokens[at:end] = list(tokens)
        self._positions[at:end] = list(range(position, position + n))
        self._sequences[at:end] = [sequence] * n
        self._wanted[at:end] = [1 if outputs == "all" else 0] * n
        if outputs == "last":
            self._wanted[end - 1] = 1
        self.struct.n_tokens = end
        return int(end) - 1

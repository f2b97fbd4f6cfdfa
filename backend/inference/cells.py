"""llama.cpp's memory of what it has read: one pool of cells, each holding a token of one or several sequences."""

from typing import Any

from backend.inference.bindings import bindings
from backend.inference.loader import LoadedModel


class Cells:
    """What can be done with the pool; used by the thread that decodes."""

    def __init__(self, model: LoadedModel) -> None:
        self._api = bindings()
        self._model = model

    def cut(self, number: int, n_kept: int) -> bool:
        """Forget what sequence `number` holds after its first `n_kept` tokens; all of it, and False, where not so."""
        if self._api.llama_memory_seq_rm(self._memory, number, n_kept, -1):
            return True
        self.clear(number)
        return False

    def clear(self, number: int) -> None:
        """Empty sequence `number`; cells that another shares stay."""
        self._api.llama_memory_seq_rm(self._memory, number, -1, -1)

    def share(self, source: int, target: int, n_tokens: int) -> None:
        """Let the empty sequence `target` begin with the first `n_tokens` of `source`; nothing is copied."""
        self._api.llama_memory_seq_cp(self._memory, source, target, 0, n_tokens)

    @property
    def _memory(self) -> Any:
        return self._api.llama_get_memory(self._model.context)

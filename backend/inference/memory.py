"""What a model will need, what is there, and giving memory back."""

import ctypes
import gc
import sys
from functools import cache
from typing import Any, Final

import psutil

from backend.inference.gguf_header import Header
from backend.inference.loader import LLM_BATCH

# Buffers of llama.cpp and of the interpreter that go with any model.
_OVERHEAD_BYTES: Final = 48 * 2**20
# Keys and values are kept as 16-bit numbers.
_KV_VALUE_BYTES: Final = 2
# The schema checker keeps a tree of the vocabulary: 60 MB for 151,936 tokens.
_CHECKER_BYTES_PER_TOKEN: Final = 420
# Contexts that are offered where the one asked for does not fit: the least that the settings take, and steps above it.
_LEAST_CONTEXT_TOKENS: Final = 2048
_CONTEXT_STEP_TOKENS: Final = 1024


def need_bytes(header: Header, *, n_ctx_tokens: int, n_batch: int, writes_answers: bool) -> int:
    """Bytes a model takes while it works: weights, keys and values of the whole context, buffers.

    `n_ctx_tokens` is what all texts in work may have together.
    """
    width = header.number("embedding_length")
    compute = 4 * n_batch * (8 * width + 2 * header.number("feed_forward_length", 4 * width))
    if not writes_answers:
        return header.size_bytes + compute + 4 * n_batch * header.n_vocab + _OVERHEAD_BYTES
    heads = max(1, header.number("attention.head_count", 1))
    heads_kv = header.number("attention.head_count_kv", heads)
    # How much each token of a step looks at each that is held: 4 bytes a head (see `loader` on flash attention).
    scores = 4 * min(n_batch, LLM_BATCH) * heads * n_ctx_tokens
    size_k = header.number("attention.key_length", width // heads)
    size_v = header.number("attention.value_length", width // heads)
    kv = header.number("block_count") * n_ctx_tokens * heads_kv * (size_k + size_v) * _KV_VALUE_BYTES
    return header.size_bytes + kv + scores + compute + _CHECKER_BYTES_PER_TOKEN * header.n_vocab + _OVERHEAD_BYTES


def longest_context(header: Header, n_ctx_tokens: int, *, n_batch: int, available_bytes: int) -> int:
    """Tokens of context, `n_ctx_tokens` at most, with which an instruct model fits; 0 where it fits with none."""

    def fits(n_tokens: int) -> bool:
        need = need_bytes(header, n_ctx_tokens=n_tokens, n_batch=n_batch, writes_answers=True)
        return need <= available_bytes

    smaller = range(n_ctx_tokens - n_ctx_tokens % _CONTEXT_STEP_TOKENS, 0, -_CONTEXT_STEP_TOKENS)
    tried = (n_ctx_tokens, *(n_tokens for n_tokens in smaller if n_tokens >= _LEAST_CONTEXT_TOKENS))
    return next((n_tokens for n_tokens in tried if fits(n_tokens)), 0)


def available_bytes() -> int:
    """Bytes that programs can still have without swapping, the file cache that can be dropped included."""
    return int(psutil.virtual_memory().available)


def resident_mb() -> float:
    """Memory of this process that is in RAM, MiB."""
    return float(psutil.Process().memory_info().rss) / 2**20


def give_back() -> None:
    """Return freed memory to the system: collect cycles, and on Linux have the allocator let go of its free pages."""
    gc.collect()
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _libc() -> Any:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") else None  # musl has none

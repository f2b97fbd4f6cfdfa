"""llguidance by its C interface, which the Python package's library carries: its calls leave the interpreter's lock.

Through the package's own classes, building a vocabulary of 151,936 tokens holds the lock for 370 ms, and the screen
stands still; through these the longest wait of another thread is 20 ms. Where a build of the library does not export
them, `offers_c` says so, and the package's classes serve.
"""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import llguidance

from backend.errors import InferenceError

_WORD: Final = 4
# Forced tokens that are asked for at once; what is beyond comes with the next ones.
_MOST_FORCED: Final = 256

_TOKENIZE: Final = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint8),
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_uint32),
    ctypes.c_size_t,
)


class _TokenizerInit(ctypes.Structure):
    """`LlgTokenizerInitV2` of llguidance.h."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("vocab_size", ctypes.c_uint32),
        ("tok_eos", ctypes.c_uint32),
        ("token_lens", ctypes.POINTER(ctypes.c_uint32)),
        ("token_bytes", ctypes.c_char_p),
        ("tokenizer_json", ctypes.c_char_p),
        ("tokenize_assumes_string", ctypes.c_bool),
        ("tokenize_fn", _TOKENIZE),
        ("use_approximate_greedy_tokenize_fn", ctypes.c_bool),
        ("tokenize_user_data", ctypes.c_void_p),
        ("slices", ctypes.c_void_p),
        ("tok_eos_extra", ctypes.POINTER(ctypes.c_uint32)),
        ("tok_eos_extra_count", ctypes.c_uint32),
    )


class _ConstraintInit(ctypes.Structure):
    """`LlgConstraintInit` of llguidance.h, with room to spare behind it: it has no size of its own and may grow."""

    _fields_ = (
        ("tokenizer", ctypes.c_void_p),
        ("log_buffer_level", ctypes.c_uint32),
        ("log_stderr_level", ctypes.c_uint32),
        ("rest", ctypes.c_uint8 * 256),
    )


class Vocabulary:
    """A vocabulary as llguidance wants it; freed with its last reference."""

    def __init__(self, pieces: Sequence[bytes], ends: Sequence[int], tokenize: Callable[[bytes], list[int]]) -> None:
        """`pieces` are the bytes of every token, those of control tokens after a byte 255; `ends` end an answer.

        `tokenize` is called with UTF-8 from whatever thread uses a matcher. Raises InferenceError when refused.
        """
        self.size = len(pieces)
        self._tokenize = _callback(tokenize)
        lengths = (ctypes.c_uint32 * self.size)(*map(len, pieces))
        extra = (ctypes.c_uint32 * max(1, len(ends) - 1))(*ends[1:])
        init = _TokenizerInit(
            struct_size=ctypes.sizeof(_TokenizerInit),
            vocab_size=self.size,
            tok_eos=ends[0] if ends else 0,
            token_lens=lengths,
            token_bytes=b"".join(pieces),
            tokenize_assumes_string=True,
            tokenize_fn=self._tokenize,
            tok_eos_extra=extra,
            tok_eos_extra_count=max(0, len(ends) - 1),
        )
        problem = ctypes.create_string_buffer(256)
        self.pointer = _library().llg_new_tokenizer_v2(ctypes.byref(init), problem, len(problem))
        if not self.pointer:
            raise InferenceError(f"the vocabulary cannot be used: {problem.value.decode('utf-8', 'replace')}")
        weakref.finalize(self, _library().llg_free_tokenizer, self.pointer)


class Matcher:
    """Where one answer stands in its schema; the names are those of `llguidance.LLMatcher`."""

    def __init__(self, vocabulary: Vocabulary, pointer: int) -> None:
        # Kept, so that it is freed after this.
        self._vocabulary = vocabulary
        self._pointer = pointer
        self._library = _library()
        weakref.finalize(self, _free_matcher, vocabulary, pointer)

    @classmethod
    def of_schema(cls, vocabulary: Vocabulary, schema: str) -> "Matcher":
        """At the beginning of a JSON schema; see `is_error`."""
        init = _ConstraintInit()
        _library().llg_constraint_init_set_defaults(ctypes.byref(init), vocabulary.pointer)
        init.log_buffer_level = init.log_stderr_level = 0
        return cls(vocabulary, _library().llg_new_matcher(ctypes.byref(init), b"json_schema", schema.encode()))

    def deep_copy(self) -> "Matcher":
        """Another one at the same place."""
        return Matcher(self._vocabulary, self._library.llg_clone_matcher(self._pointer))

    def is_error(self) -> bool:
        """Whether the schema is unusable, or a token was refused."""
        return bool(self._library.llg_matcher_is_error(self._pointer))

    def get_error(self) -> str:
        """What is wrong; it may quote the answer."""
        return (self._library.llg_matcher_get_error(self._pointer) or b"").decode("utf-8", "replace")

    def is_stopped(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._library.llg_matcher_is_stopped(self._pointer))

    def validate_tokens(self, tokens: list[int]) -> int:
        """How many of `tokens` may come next."""
        return int(self._library.llg_matcher_validate_tokens(self._pointer, _array(tokens), len(tokens)))

    def compute_bitmask(self) -> bytes:
        """A bit for every token, the lowest of the first byte first: whether it may come next."""
        size = int(self._library.llg_matcher_get_mask_byte_size(self._pointer))
        mask = (ctypes.c_uint32 * (size // _WORD))()
        self._library.llg_matcher_compute_mask_into(self._pointer, mask, size)
        return bytes(mask)

    def consume_token(self, token: int) -> bool:
        """Go on after `token`; False when it was refused."""
        return bool(self._library.llg_matcher_consume_token(self._pointer, token) == 0)

    def consume_tokens(self, tokens: list[int]) -> bool:
        """Go on after several."""
        return bool(self._library.llg_matcher_consume_tokens(self._pointer, _array(tokens), len(tokens)) == 0)

    def compute_ff_tokens(self) -> list[int]:
        """Tokens that must come next."""
        forced = (ctypes.c_uint32 * _MOST_FORCED)()
        count = self._library.llg_matcher_compute_ff_tokens(self._pointer, forced, _MOST_FORCED)
        return forced[: max(0, count)]


def offers_c() -> bool:
    """Whether the installed library exports its C interface, as far as it is used here."""
    return hasattr(_library(), "llg_new_tokenizer_v2") and hasattr(_library(), "llg_matcher_compute_ff_tokens")


@cache
def _library() -> Any:
    library = ctypes.CDLL(llguidance._lib.__file__)
    if not hasattr(library, "llg_new_tokenizer_v2"):
        return library
    for name in ("llg_new_tokenizer_v2", "llg_new_matcher", "llg_clone_matcher"):
        getattr(library, name).restype = ctypes.c_void_p
    pointer = ctypes.c_void_p
    library.llg_matcher_get_error.restype = ctypes.c_char_p
    library.llg_matcher_get_mask_byte_size.restype = ctypes.c_size_t
    library.llg_new_tokenizer_v2.argtypes = [pointer, ctypes.c_char_p, ctypes.c_size_t]
    library.llg_constraint_init_set_defaults.argtypes = [pointer, pointer]
    library.llg_constraint_init_set_defaults.restype = None
    library.llg_new_matcher.argtypes = [pointer, ctypes.c_char_p, ctypes.c_char_p]
    for name in ("llg_free_tokenizer", "llg_free_matcher"):
        getattr(library, name).argtypes, getattr(library, name).restype = [pointer], None
    for name in ("clone_matcher", "matcher_get_error", "matcher_get_mask_byte_size"):
        getattr(library, f"llg_{name}").argtypes = [pointer]
    for name in ("is_error", "is_stopped"):
        call = getattr(library, f"llg_matcher_{name}")
        call.argtypes, call.restype = [pointer], ctypes.c_bool
    for name in ("validate_tokens", "compute_mask_into", "consume_tokens", "compute_ff_tokens"):
        getattr(library, f"llg_matcher_{name}").argtypes = [pointer, pointer, ctypes.c_size_t]
    library.llg_matcher_consume_token.argtypes = [pointer, ctypes.c_uint32]
    return library


def _free_matcher(_vocabulary: Vocabulary, pointer: int) -> None:
    """Free a matcher before the vocabulary that it uses, which this call holds."""
    _library().llg_free_matcher(pointer)


def _callback(tokenize: Callable[[bytes], list[int]]) -> Any:
    def called(_data: Any, text: Any, length: int, room: Any, n_room: int) -> int:
        tokens = tokenize(ctypes.string_at(text, length) if length else b"")
        for index, token in enumerate(tokens[:n_room]):
            room[index] = token
        return len(tokens)

    return _TOKENIZE(called)


def _array(tokens: Sequence[int]) -> Any:
    return (ctypes.c_uint32 * len(tokens))(*tokens)

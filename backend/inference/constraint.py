"""Keeps an answer inside a JSON schema while it is written, by llguidance.

The best token is asked about first and the whole vocabulary only when it is refused: 0.15 ms a token with 151,936
of them, where llama.cpp's own grammar sampler takes 13 to 32.
"""

import ctypes
import json
import weakref
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from backend.errors import InferenceError
from backend.inference.bindings import bindings
from backend.inference.guidance import Matcher, Vocabulary, offers_c
from backend.inference.loader import LoadedModel

# Compiled schemas that are remembered; the application has a handful.
_KEPT_SCHEMAS: Final = 16
# Length of a list whose schema does not bound it.
_MOST_ITEMS: Final = 64


class Constraint:
    """Where one answer stands in its schema."""

    def __init__(self, matcher: Matcher | LLMatcher, n_vocab: int) -> None:
        self._matcher = matcher
        self._n_vocab = n_vocab

    @property
    def is_finished(self) -> bool:
        """Whether the answer is complete and nothing may follow."""
        return bool(self._matcher.is_stopped())

    def allows(self, token: int) -> bool:
        """Whether `token` may come next."""
        return bool(self._matcher.validate_tokens([token]) == 1)

    def mask(self) -> NDArray[np.bool_]:
        """For every token of the vocabulary, whether it may come next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bits, bitorder="little", count=self._n_vocab).view(np.bool_)

    def accept(self, token: int) -> list[int]:
        """Go on after `token`, and past what must follow it; the tokens of that, mostly none.

        The names of properties and the signs between them need no choice, so the model need not be asked for them.
        Raises InferenceError when `token` was not allowed.
        """
        # The matcher's own words quote the answer.
        if not self._matcher.consume_token(token):
            raise InferenceError("the answer left its schema")
        forced: list[int] = self._matcher.compute_ff_tokens()
        if forced and not self._matcher.consume_tokens(forced):
            raise InferenceError("the answer left its schema")
        return forced


class ConstraintMaker:
    """Makes constraints for one model's vocabulary; building it takes about a second for 151,936 tokens."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        with model.vocab_lock:
            vocabulary = _vocabulary(model)
        # Of the vocabulary and not of this object: a circle would keep its 60 MB until the collector comes by.
        self._matcher = lru_cache(_KEPT_SCHEMAS)(partial(_compile, vocabulary))

    def constraint(self, schema: dict[str, Any]) -> Constraint:
        """A fresh constraint. Raises InferenceError when the schema cannot be compiled, or the model is unloaded."""
        # The tokenizer looks into the vocabulary, which must not be freed meanwhile.
        with self._model.vocab_lock:
            if self._model.is_closed:
                raise InferenceError("the model has been unloaded: ask the manager for it again")
            return Constraint(self._matcher(json.dumps(schema)).deep_copy(), self._model.n_vocab)


def _compile(vocabulary: Vocabulary | LLTokenizer, schema: str) -> Matcher | LLMatcher:
    # With free white space a weak model pads with newlines until its limit.
    closed = {**_closed(json.loads(schema)), "x-guidance": {"whitespace_flexible": False}}
    matcher: Matcher | LLMatcher
    if isinstance(vocabulary, Vocabulary):
        matcher = Matcher.of_schema(vocabulary, json.dumps(closed))
    else:
        matcher = LLMatcher(vocabulary, LLMatcher.grammar_from_json_schema(closed), log_level=0)
    if matcher.is_error():
        raise InferenceError(f"the answer's schema cannot be used: {matcher.get_error()[:300]}")
    return matcher


def _vocabulary(model: LoadedModel) -> Vocabulary | LLTokenizer:
    """The vocabulary as llguidance wants it. Its own `llamacpp.lltokenizer_from_vocab` calls what 0.3.36 deprecates."""
    api, vocab = bindings(), model.vocab
    room = 16 * 1024
    buffer = ctypes.create_string_buffer(room)
    pieces: list[bytes] = []
    ends: list[int] = []
    for token in range(model.n_vocab):
        n = api.llama_token_to_piece(vocab, token, buffer, room, 0, True)
        piece = ctypes.string_at(buffer, max(n, 0))
        attributes = api.llama_vocab_get_attr(vocab, token)
        is_marked = attributes & api.LLAMA_TOKEN_ATTR_USER_DEFINED and piece[:1] == b"<" and piece[-1:] == b">"
        # llguidance tells control tokens from text that spells them by this byte, which no text has.
        is_control = attributes & api.LLAMA_TOKEN_ATTR_CONTROL or is_marked
        pieces.append(b"\xff" + piece if is_control else piece)
        if api.llama_vocab_is_eog(vocab, token):
            ends.append(token)
    if offers_c():
        model_of = weakref.ref(model)  # the model's engine holds this: no circle

        def tokenize(text: bytes) -> list[int]:
            held = model_of()
            return [] if held is None or held.is_closed else held.tokenize(text.decode("utf-8", "replace"))

        return Vocabulary(pieces, ends, tokenize)
    address = ctypes.cast(api._lib.llama_tokenize, ctypes.c_void_p).value
    # Missing in llguidance's own stubs, hence the name as text.
    make = getattr(LLTokenizer, "from_llamacpp")  # noqa: B009 - see above
    tokenizer: LLTokenizer = make(tokens=pieces, vocab_ptr=vocab, tokenize_fptr=address, eos_token=ends or None)
    return tokenizer


def _closed(schema: Any) -> Any:
    """`schema` with objects that hold their named properties only, and lists that end.

    JSON Schema's default admits any other property, and DSPy drops the bounds of a list that is itself an output field.
    """
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _closed(part) for key, part in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        inner.setdefault("additionalProperties", False)
    if schema.get("type") == "array":
        inner.setdefault("maxItems", _MOST_ITEMS)
    return inner

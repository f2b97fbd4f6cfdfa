"""Writes random-weight models with a real vocabulary: llama.cpp itself, without anybody's weights.

A file of two layers takes half a second and 26 MB, nearly all of it the vocabulary's embedding.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import gguf
import numpy as np

# GGUF's numbers for types of values, and the bytes of those of fixed size.
_UINT32, _FLOAT32, _STRING, _ARRAY = 4, 6, 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_ALIGNMENT = 32

VOCABULARY = Path(__file__).parent / "data" / "ggml-vocab-qwen2.gguf"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)

type Quant = Literal["f16", "q8_0"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model; widths are multiples of 32, as Q8_0 needs."""

    n_layers: int = 2
    n_embd: int = 64
    n_heads: int = 4
    n_heads_kv: int = 2
    n_ff: int = 128
    n_ctx: int = 8192

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_heads


def write_random_llm(
    path: Path,
    *,
    n_layers: int = 2,
    n_embd: int = 64,
    n_heads: int = 4,
    n_heads_kv: int = 2,
    n_ff: int = 128,
    quant: Quant = "f16",
    chat_template: str | None = CHATML,
    seed: int = 0,
) -> Path:
    """A qwen2-architecture instruct model with random weights at `path`, which is returned."""
    shape = Shape(n_layers, n_embd, n_heads, n_heads_kv, n_ff)
    n_vocab, n_pairs, vocabulary = _vocabulary()
    pairs = _pairs(shape, chat_template)
    tensors = dict(_tensors(shape, n_vocab, quant, np.random.default_rng(seed)))
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs) + n_pairs))
        file.write(b"".join(pairs) + vocabulary)
        offset = 0
        for name, tensor in tensors.items():
            file.write(tensor.described(name, offset))
            offset += -(-len(tensor.data) // _ALIGNMENT) * _ALIGNMENT
        for tensor in tensors.values():
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            file.write(tensor.data)
    return path


@dataclass(frozen=True, slots=True)
class _Tensor:
    # Rows first, as numpy counts; GGUF counts the other way round.
    shape: tuple[int, ...]
    kind: int
    data: bytes

    def described(self, name: str, offset: int) -> bytes:
        sizes = struct.pack(f"<{len(self.shape)}Q", *reversed(self.shape))
        return _string(name) + struct.pack("<I", len(self.shape)) + sizes + struct.pack("<IQ", self.kind, offset)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _pairs(shape: Shape, chat_template: str | None) -> list[bytes]:
    texts = {"general.architecture": "qwen2", "general.type": "model", "general.name": "random"}
    if chat_template is not None:
        texts["tokenizer.chat_template"] = chat_template
    counts = {
        "block_count": shape.n_layers,
        "context_length": shape.n_ctx,
        "embedding_length": shape.n_embd,
        "feed_forward_length": shape.n_ff,
        "attention.head_count": shape.n_heads,
        "attention.head_count_kv": shape.n_heads_kv,
    }
    numbers = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 1e6}
    return [
        *(_string(key) + struct.pack("<I", _STRING) + _string(text) for key, text in texts.items()),
        *(_string(f"qwen2.{key}") + struct.pack("<II", _UINT32, count) for key, count in counts.items()),
        *(_string(f"qwen2.{key}") + struct.pack("<If", _FLOAT32, number) for key, number in numbers.items()),
    ]


@cache
def _vocabulary() -> tuple[int, int, bytes]:
    """How many tokens there are, and the tokenizer's key-value pairs: their number and their bytes as they lie.

    Copied byte by byte: through `gguf.GGUFReader` and `GGUFWriter` the 300,000 strings take seven seconds.
    """
    data = VOCABULARY.read_bytes()
    n_vocab, kept, at = 0, [], 24
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        start = at
        (length,) = struct.unpack_from("<Q", data, at)
        key = data[at + 8 : at + 8 + length].decode()
        at += 8 + length
        (kind,) = struct.unpack_from("<I", data, at)
        at = _after(data, at + 4, kind)
        if key == "tokenizer.ggml.tokens":
            (n_vocab,) = struct.unpack_from("<Q", data, start + 8 + length + 8)
        if key.startswith("tokenizer.") and key != "tokenizer.chat_template":
            kept.append(data[start:at])
    return n_vocab, len(kept), b"".join(kept)


def _after(data: bytes, at: int, kind: int) -> int:
    """Where the value of type `kind` at `at` ends."""
    if kind == _STRING:
        return at + 8 + int(struct.unpack_from("<Q", data, at)[0])
    if kind != _ARRAY:
        return at + _SIZES[kind]
    kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if kind != _STRING:
        return at + int(count) * _SIZES[kind]
    for _ in range(count):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
    return at


def _tensors(shape: Shape, n_vocab: int, quant: Quant, random: np.random.Generator) -> Iterator[tuple[str, _Tensor]]:
    kind = gguf.GGMLQuantizationType.Q8_0 if quant == "q8_0" else gguf.GGMLQuantizationType.F16

    def matrix(name: str, rows: int, columns: int) -> tuple[str, _Tensor]:
        values = random.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(columns, dtype=np.float32)
        return f"{name}.weight", _Tensor((rows, columns), int(kind), gguf.quants.quantize(values, kind).tobytes())

    def vector(name: str, size: int, value: float) -> tuple[str, _Tensor]:
        return name, _Tensor((size,), 0, np.full(size, value, dtype=np.float32).tobytes())

    width_kv = shape.n_heads_kv * shape.head_size
    yield matrix("token_embd", n_vocab, shape.n_embd)
    yield vector("output_norm.weight", shape.n_embd, 1.0)
    for layer in range(shape.n_layers):
        block = f"blk.{layer}"
        yield vector(f"{block}.attn_norm.weight", shape.n_embd, 1.0)
        yield vector(f"{block}.ffn_norm.weight", shape.n_embd, 1.0)
        for name, width in (("q", shape.n_embd), ("k", width_kv), ("v", width_kv)):
            yield matrix(f"{block}.attn_{name}", width, shape.n_embd)
            yield vector(f"{block}.attn_{name}.bias", width, 0.0)
        yield matrix(f"{block}.attn_output", shape.n_embd, shape.n_embd)
        yield matrix(f"{block}.ffn_gate", shape.n_ff, shape.n_embd)
        yield matrix(f"{block}.ffn_up", shape.n_ff, shape.n_embd)
        yield matrix(f"{block}.ffn_down", shape.n_embd, shape.n_ff)

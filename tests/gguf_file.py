"""GGUF as bytes: values, tensors, a vocabulary copied from another file.

Through `gguf.GGUFReader` and `GGUFWriter` the 300,000 strings of a vocabulary take seven seconds.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import gguf
import numpy as np

# GGUF's numbers for types of values, and the bytes of those of fixed size.
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 6, 7, 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_ALIGNMENT = 32

type Quant = Literal["f16", "q8_0", "f32"]
type Value = bool | int | float | str | Sequence[str]
_QUANTS = {
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "f32": gguf.GGMLQuantizationType.F32,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a tensor holds, by `matrix` or `vector`."""

    name: str
    # Rows first, as numpy counts; GGUF counts the other way round.
    shape: tuple[int, ...]
    kind: int
    data: bytes

    def described(self, offset: int) -> bytes:
        """Its entry in the head of the file."""
        sizes = struct.pack(f"<{len(self.shape)}Q", *reversed(self.shape))
        return _string(self.name) + struct.pack("<I", len(self.shape)) + sizes + struct.pack("<IQ", self.kind, offset)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer's key-value pairs of a file: how many, and their bytes as they lie."""

    n_tokens: int
    n_pairs: int
    data: bytes


def matrix(name: str, rows: int, columns: int, random: np.random.Generator, quant: Quant = "f16") -> Tensor:
    """Random values, so scaled that what goes through keeps its size."""
    values = random.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(columns, dtype=np.float32)
    kind = _QUANTS[quant]
    return Tensor(f"{name}.weight", (rows, columns), int(kind), gguf.quants.quantize(values, kind).tobytes())


def vector(name: str, size: int, value: float) -> Tensor:
    """`size` times the same number."""
    return Tensor(name, (size,), 0, np.full(size, value, dtype=np.float32).tobytes())


def write_gguf(path: Path, values: Mapping[str, Value], vocabulary: Vocabulary, tensors: Iterable[Tensor]) -> Path:
    """The file at `path`, which is returned."""
    pairs, written = [_pair(key, value) for key, value in values.items()], list(tensors)
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(written), len(pairs) + vocabulary.n_pairs))
        file.write(b"".join(pairs) + vocabulary.data)
        offset = 0
        for tensor in written:
            file.write(tensor.described(offset))
            offset += -(-len(tensor.data) // _ALIGNMENT) * _ALIGNMENT
        for tensor in written:
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            file.write(tensor.data)
    return path


@cache
def vocabulary_of(path: Path, *, without: tuple[str, ...] = ()) -> Vocabulary:
    """That of the file at `path`, without its chat template and the keys in `without`; read once a process."""
    data = path.read_bytes()
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
        if key.startswith("tokenizer.") and key not in ("tokenizer.chat_template", *without):
            kept.append(data[start:at])
    return Vocabulary(n_vocab, len(kept), b"".join(kept))


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


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _pair(key: str, value: Value) -> bytes:
    match value:
        case bool():
            packed = struct.pack("<I?", _BOOL, value)
        case int():
            packed = struct.pack("<II", _UINT32, value)
        case float():
            packed = struct.pack("<If", _FLOAT32, value)
        case str():
            packed = struct.pack("<I", _STRING) + _string(value)
        case _:
            packed = struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_string, value))
    return _string(key) + packed

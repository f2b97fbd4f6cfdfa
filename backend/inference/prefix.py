"""Keeps instructions that have been read on disk: a cold load takes them from there in place of reading them again.

One file holds what llama.cpp keeps for one run of tokens, after its own SHA-256: llama.cpp trusts such data, so what
was damaged or cut short must not reach it. A file that does not check out is removed; it is made again when needed.
"""

import ctypes
import hashlib
import logging
import mmap
import os
import tempfile
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from backend.inference.bindings import bindings, library_version
from backend.inference.loader import LoadedModel
from backend.inference.weights import fingerprint, quick_key

logger = logging.getLogger(__name__)

# All files together; those that were used least recently go.
_MOST_BYTES: Final = 2 * 10**9
_MAGIC: Final = b"CHARLIE PREFIX 1"
_HEAD: Final = len(_MAGIC) + hashlib.sha256().digest_size
_SUFFIX: Final = ".prefix"


class PrefixStore:
    """The files of one model in a folder that models may share; used by the thread that decodes."""

    def __init__(self, model: LoadedModel, folder: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._model = model
        self._folder = folder
        self._most_bytes = most_bytes

    def load(self, tokens: Sequence[int], number: int) -> bool:
        """Put what was kept for `tokens` into the empty sequence `number`; False, and nothing there, without a file."""
        path = self._path(tokens)
        if path is None or not path.exists():
            return False
        try:
            is_loaded = path.stat().st_size > _HEAD and self._set(path, number, len(tokens))
        except OSError as error:
            logger.warning("a prefix file cannot be read: %s", error.strerror)
            return False
        if is_loaded:
            with suppress(OSError):
                os.utime(path)
        else:
            logger.warning("a prefix file is damaged and is made again")
            path.unlink(missing_ok=True)
        return is_loaded

    def save(self, tokens: Sequence[int], number: int) -> None:
        """Keep what sequence `number` holds, which has read `tokens`; a full disk is no reason to fail."""
        path = self._path(tokens)
        if path is None or path.exists():
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(path, number)
            self._trim(keep=path)
        except OSError as error:
            logger.warning("a prefix file cannot be written: %s", error.strerror)

    def _set(self, path: Path, number: int, n_tokens: int) -> bool:
        api, context = bindings(), self._model.context
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as data:
            with memoryview(data) as view:
                is_whole = bytes(view[:_HEAD]) == _MAGIC + _digest(view[_HEAD:])
            if not is_whole:
                return False
            size = len(data) - _HEAD
            state = (ctypes.c_uint8 * size).from_buffer(data, _HEAD)
            n_read = api.llama_state_seq_set_data(context, state, size, number)
            del state
        memory = api.llama_get_memory(context)
        if n_read == size and api.llama_memory_seq_pos_max(memory, number) == n_tokens - 1:
            return True
        api.llama_memory_seq_rm(memory, number, -1, -1)
        return False

    def _write(self, path: Path, number: int) -> None:
        api, context = bindings(), self._model.context
        size = int(api.llama_state_seq_get_size(context, number))
        if _HEAD + size > self._most_bytes:
            return
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=path.stem)
        try:
            with os.fdopen(handle, "r+b") as file:
                # Room on the disk first: to write into a map without it is a signal that ends the process.
                _allocate(file.fileno(), _HEAD + size)
                with mmap.mmap(file.fileno(), _HEAD + size) as data:
                    state = (ctypes.c_uint8 * size).from_buffer(data, _HEAD)
                    n_written = api.llama_state_seq_get_data(context, state, size, number)
                    del state
                    with memoryview(data) as view:
                        data[:_HEAD] = _MAGIC + _digest(view[_HEAD:])
            if n_written == size:
                os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)

    def _path(self, tokens: Sequence[int]) -> Path | None:
        """Where `tokens` are kept; None where the file of the weights is no longer the one that was loaded."""
        model, settings = self._model, self._model.settings
        try:
            if not model.identity or quick_key(model.path) != model.identity:
                return None
            weights = fingerprint(model.path, self._folder)
        except OSError:
            return None
        how = (settings.n_gpu_layers, settings.use_extra_bufts, library_version())
        key = hashlib.sha256(f"{weights}|{model.identity}|{how}|".encode())
        key.update(array("i", tokens).tobytes())
        return self._folder / f"{key.hexdigest()[:32]}{_SUFFIX}"

    def _trim(self, keep: Path) -> None:
        found = [(path.stat(), path) for path in self._folder.glob(f"*{_SUFFIX}") if path != keep]
        left = self._most_bytes - keep.stat().st_size
        for stat, path in sorted(found, key=lambda pair: pair[0].st_mtime_ns, reverse=True):
            left -= stat.st_size
            if left < 0:
                path.unlink(missing_ok=True)


def _digest(data: memoryview) -> bytes:
    return hashlib.sha256(data).digest()


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    left = size  # macOS knows no such call
    while left > 0:
        left -= os.write(descriptor, bytes(min(left, 1 << 20)))
    os.lseek(descriptor, 0, os.SEEK_SET)

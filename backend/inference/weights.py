"""Tells weights files apart: a short fingerprint, worked out once a file."""

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

# What stands at the start of a file tells two models apart that are equally long and equally old.
_HEAD_BYTES = 1 << 20
_CACHE_NAME = "weights.json"


def fingerprint(path: Path, cache_dir: Path | None = None) -> str:
    """SHA-256 of the file, its first 16 hex digits.

    A 4 GB file takes seconds, so the answer is kept in `cache_dir` by path, size and time of change.
    """
    stat = path.stat()
    key = f"{path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}"
    known = read_json(cache_dir / _CACHE_NAME) if cache_dir else {}
    found = known.get(key)
    if isinstance(found, str):
        return found
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    if cache_dir:
        remember(cache_dir / _CACHE_NAME, {**known, key: digest})
    return digest


def quick_key(path: Path) -> str:
    """Tells whether this is still the file it was, in a millisecond: size, time of change, hash of its head."""
    stat = path.stat()
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()[:16]
    return f"{stat.st_size}-{stat.st_mtime_ns}-{head}"


def read_json(path: Path) -> dict[str, object]:
    """The object in the file at `path`; empty when there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # what is remembered can be found out again
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, values: dict[str, object]) -> None:
    """Replace the file at `path` in one step, readable by its owner only. Raises OSError, and leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def remember(path: Path, values: dict[str, object]) -> None:
    """Keep what can be found out again; where it cannot be kept, on a full disk say, it will be."""
    try:
        write_json(path, values)
    except OSError as error:
        logger.warning("%s cannot be written: %s", path.name, error.strerror)

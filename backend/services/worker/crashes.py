"""What is left on disk when the process dies in the middle of a model call, and what the next one makes of it.

A marker names the entry and the weights while a model is called. Python's faulthandler writes to a file of its
own when a native fault ends the process, and only then: that tells a crash from a kill or a power cut.
"""

import faulthandler
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from backend.services.worker import policy


@dataclass(frozen=True, slots=True)
class Leftover:
    """Readings that a dead process had begun, one or several at once."""

    uuids: tuple[str, ...]
    weights: str
    # A native fault ended the process; otherwise it was killed, or the power went.
    is_crash: bool


class Crashes:
    """The marker and the record of crashes in one folder; used by whoever holds the worker lock."""

    def __init__(self, folder: Path) -> None:
        self._marker = folder / "in-flight.json"
        self._fault_log = folder / "fault.log"
        self._record = folder / "crashed.json"
        self._fault_file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._in_flight: list[str] = []

    def watch(self) -> None:
        """Have native faults of this process written down (stack frames only). Idempotent."""
        if self._fault_file is None:
            self._fault_log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fault_file = open(self._fault_log, "wb", opener=_private)  # noqa: SIM115 - lives as long as the process
            faulthandler.enable(self._fault_file, all_threads=False)

    def unwatch(self) -> None:
        """Stop watching. Idempotent."""
        if self._fault_file is not None:
            faulthandler.disable()
            self._fault_file.close()
            self._fault_file = None

    @contextmanager
    def marked(self, uuid: str, weights: str) -> Iterator[None]:
        """Leave a marker as long as a model is called; several entries may be, with the same weights."""
        with self._lock:
            self._in_flight.append(uuid)
            self._mark(weights)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight.remove(uuid)
                self._mark(weights)

    def _mark(self, weights: str) -> None:
        if self._in_flight:
            replace_text(self._marker, json.dumps({"uuids": self._in_flight, "weights": weights}))
        else:
            self._marker.unlink(missing_ok=True)

    def take_leftover(self) -> Leftover | None:
        """The reading that a dead process had begun; asking takes it away. Call before `watch`."""
        try:
            raw = json.loads(self._marker.read_text())
        except (OSError, ValueError):
            return None
        is_crash = self._was_fault()
        leftover = Leftover(tuple(raw["uuids"]), raw["weights"], is_crash)
        if is_crash:
            self._add(leftover)
        self.forget_leftover()
        self._fault_log.unlink(missing_ok=True)
        return leftover

    def forget_leftover(self) -> None:
        """Drop the marker of a process that was ended on purpose."""
        self._marker.unlink(missing_ok=True)

    def are_unusable(self, weights: str) -> bool:
        """Whether two different entries crashed on these weights."""
        return policy.are_unusable(len(self._crashed().get(weights, [])))

    def had_crash(self) -> bool:
        """Whether a reading ended in a native crash, recorded or just now: the worker is better kept apart."""
        return self._record.exists() or (self._marker.exists() and self._was_fault())

    def _was_fault(self) -> bool:
        return self._fault_log.exists() and self._fault_log.stat().st_size > 0

    def forgive(self) -> None:
        """Forget all crashes: the person has chosen what is to read."""
        self._record.unlink(missing_ok=True)

    def _add(self, leftover: Leftover) -> None:
        crashed = self._crashed()
        entries = crashed.setdefault(leftover.weights, [])
        # Of several in work nobody knows which it was; each is read alone next time, and then it shows.
        if len(leftover.uuids) == 1 and leftover.uuids[0] not in entries:
            entries.append(leftover.uuids[0])
        replace_text(self._record, json.dumps(crashed))

    def _crashed(self) -> dict[str, list[str]]:
        try:
            recorded: dict[str, list[str]] = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return {}
        return recorded


def replace_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)

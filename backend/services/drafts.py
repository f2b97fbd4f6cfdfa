"""What was typed and not saved yet, on disk apart from the database, so that neither crash nor full queue loses it."""

import contextlib
import fcntl
import json
import os
import threading
import uuid as uuids
from datetime import UTC, datetime
from pathlib import Path

from backend.domain import Draft
from backend.errors import StorageUnavailable


class Drafts:
    """The drafts in one folder. Each process owns those it writes, by a lock that ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = uuids.uuid4().hex[:12]
        self._lock_fd: int | None = None
        self._adopted: dict[str, str] = {}
        self._lock = threading.Lock()

    def new_id(self) -> str:
        """The name of a draft that this process will write."""
        return f"{self._owner}-{uuids.uuid4().hex[:8]}"

    def save(self, draft_id: str, episode_uuid: str, journal: str, text: str) -> None:
        """Put the text on disk; a draft left by another process becomes this one's.

        Raises:
            StorageUnavailable: the folder cannot be written.
        """
        content = {
            "episode_uuid": episode_uuid,
            "journal": journal,
            "text": text,
            "saved_at": datetime.now(UTC).isoformat(),
        }
        with self._lock:
            try:
                self._own()
                path = self._path(self._mine(draft_id))
                _write(path, json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"))
                if path != self._path(draft_id):
                    self._path(draft_id).unlink(missing_ok=True)
            except OSError as error:
                raise StorageUnavailable(
                    f"the draft cannot be kept in {self._folder} ({error.strerror}): free some space, then go on typing"
                ) from None

    def discard(self, draft_id: str) -> None:
        """Forget a draft: it was saved as an entry, or thrown away. Idempotent; one that cannot go is offered again."""
        with self._lock, contextlib.suppress(OSError):
            self._path(self._adopted.pop(draft_id, draft_id)).unlink(missing_ok=True)
            self._path(draft_id).unlink(missing_ok=True)

    def pending(self) -> tuple[tuple[str, Draft], ...]:
        """Drafts that a process left when it ended, newest first; never those somebody is writing."""
        found = []
        for half in self._folder.glob("*-*.new"):
            # A crash came between writing it and its rename; the draft before it stands.
            if not self._is_alive(half.stem.partition("-")[0]):
                half.unlink(missing_ok=True)
        for path in self._folder.glob("*-*.json"):
            draft = _read(path) if not self._is_alive(path.stem.partition("-")[0]) else None
            if draft is not None:
                found.append((path.stem, draft))
        return tuple(sorted(found, key=lambda pair: pair[1].saved_at, reverse=True))

    def close(self) -> None:
        """Give up the lock; drafts that are still there are offered at the next start. Idempotent."""
        with self._lock:
            if self._lock_fd is not None:
                os.close(self._lock_fd)
                self._lock_fd = None
                self._lock_path(self._owner).unlink(missing_ok=True)

    def _mine(self, draft_id: str) -> str:
        if draft_id.startswith(self._owner):
            return draft_id
        return self._adopted.setdefault(draft_id, self.new_id())

    def _own(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while self._lock_fd is None:
            fd = os.open(self._lock_path(self._owner), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                self._lock_fd = fd
            else:
                # Between the two calls another process took it for a dead one's and removed it.
                os.close(fd)

    def _is_alive(self, owner: str) -> bool:
        if owner == self._owner:
            return self._lock_fd is not None
        try:
            fd = os.open(self._lock_path(owner), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            self._lock_path(owner).unlink(missing_ok=True)
            return False
        finally:
            os.close(fd)

    def _path(self, draft_id: str) -> Path:
        return self._folder / f"{draft_id}.json"

    def _lock_path(self, owner: str) -> Path:
        return self._folder / f"{owner}.lock"


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.replace(path)


def _read(path: Path) -> Draft | None:
    try:
        raw = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
        return Draft(raw["episode_uuid"], raw["journal"], raw["text"], datetime.fromisoformat(raw["saved_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        # Half a draft cannot be: it is replaced by rename. What is not ours is left where it is.
        return None

"""Fetches a weights file from the model hub: resumes, checks size and SHA-256, and leaves nothing half in the way.

The bytes go to `<folder>/.partial/`, and only a file that was checked whole is moved beside the others. huggingface_hub
says what the file must be and holds the connection, but the bytes are taken here: the download of its release 1.33
throws a partial file away when it fails, and its Xet client keeps a cache outside the home. The hub is asked by `fetch`
alone; `HF_ENDPOINT` names another in its stead.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from backend.errors import DownloadFailed, Stopped
from backend.inference.catalog import CatalogEntry, Pin, write_pin

HUB: Final = "https://huggingface.co"
_PARTIAL: Final = ".partial"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
# Room that is left on the disk for the journal itself, whatever is fetched.
_LEFT_FREE_BYTES: Final = 256 * 2**20
# Statuses that say "later": asked again as after a lost connection.
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
# What a server says to a range that begins at its file's end or after it.
_NOTHING_THERE: Final = 416
_COPY_HINT: Final = "or fetch the file elsewhere, copy it here, and say 'charlie models use PATH'"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a weak connection is put up with."""

    # Silence after which a connection counts as lost, seconds.
    silence_s: float = 30.0
    # Pauses before it is tried again; begun anew whenever bytes have come.
    pauses_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)


PATIENT: Final = Patience()


@dataclass(frozen=True, slots=True)
class Fetching:
    """How a file is fetched, and who is told."""

    # Bytes that are there and bytes in all, after every piece.
    on_progress: Callable[[int, int], None] = lambda _done, _total: None
    # Looked at after every piece.
    stopping: Callable[[], bool] = lambda: False
    patience: Patience = PATIENT
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free


def fetch(entry: CatalogEntry, folder: Path, how: Fetching) -> Pin:
    """The file of `entry` in `folder`, whole, checked and pinned.

    What came before a failure is kept and the next call goes on from there.

    Raises:
        DownloadFailed: no network, refused, not there, no room, or not what the hub says it is.
        Stopped: `how.stopping` said so.
    """
    hub = _Hub(entry, how.patience)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pin = hub.ask()
        place = folder / entry.file
        if place.exists():
            _check_there(place, pin)
        else:
            _fetch_into(place, hub, pin, how)
        write_pin(folder, entry.file, pin)
    except OSError as error:
        raise DownloadFailed(_in_words(error, entry)) from None
    finally:
        hub.close()
    return pin


def discard_partial(folder: Path, file: str) -> int:
    """Remove what is kept of unfinished and refused downloads of `file`; how many files that were."""
    kept = [*_partials(folder, file), *folder.glob(f"{file}.bad")]
    for path in kept:
        path.unlink(missing_ok=True)
    return len(kept)


def partial_bytes(folder: Path, file: str) -> int:
    """How much of `file` has been fetched and waits to be gone on with."""
    return max((path.stat().st_size for path in _partials(folder, file)), default=0)


class _Hub:
    """The hub's word on one file, and its bytes from any place on."""

    def __init__(self, entry: CatalogEntry, patience: Patience) -> None:
        # huggingface_hub costs 0.14 s and 25 MB (with httpx): only a fetch imports it.
        import httpx
        import huggingface_hub
        from huggingface_hub import constants, errors

        # The same as HF_HUB_DISABLE_TELEMETRY, which counts only where it is set before the import. With telemetry it
        # also fetches a list of programs to look for, and writes that to a cache outside the home.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        # It has a handler of its own, which would write over the progress bar.
        logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
        self._hub = huggingface_hub
        self._entry = entry
        self._patience = patience
        self._timeout = httpx.Timeout(patience.silence_s)
        # What a connection can die of while it is made or used.
        self._status_error = errors.HfHubHTTPError
        self.lost: tuple[type[Exception], ...] = (httpx.RequestError, httpx.InvalidURL, ConnectionError)
        self._unreachable: tuple[type[Exception], ...] = (*self.lost, errors.OfflineModeIsEnabled)
        self._endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
        # Only what the person gave this command: a token file elsewhere on the machine is not read.
        self._token: str | bool = os.environ.get("HF_TOKEN", "").strip() or False
        self._revision = "main"

    def ask(self) -> Pin:
        """Size, SHA-256 and revision as they stand now. Raises DownloadFailed."""
        try:
            found = self._hub.get_hf_file_metadata(
                self._url(),
                token=self._token,
                library_name="charlie",
                timeout=self._patience.silence_s,
                endpoint=self._endpoint,
            )
        except self._status_error as error:
            raise DownloadFailed(self._refused(error.response.status_code)) from None
        except self._unreachable:
            raise DownloadFailed(
                f"{self._endpoint} cannot be reached: try again when there is a network, or fetch {self._url()} "
                "elsewhere, copy it here, and say 'charlie models use PATH'"
            ) from None
        except ValueError:  # a header that is no number
            found = None
        revision, sha256, size = (found.commit_hash, found.etag, found.size) if found else (None, None, None)
        if not (size and _COMMIT.fullmatch(revision or "") and _SHA256.fullmatch(sha256 or "")):
            raise DownloadFailed(f"{self._endpoint} does not say size and SHA-256 as a model hub does: see HF_ENDPOINT")
        self._revision = str(revision)
        return Pin(self._entry.name, self._entry.repository, str(revision), int(size), str(sha256))

    @contextlib.contextmanager
    def bytes_from(self, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Where the bytes begin and the bytes: at `start`, or at 0 where the server knows no ranges.

        Raises DownloadFailed, or one of `lost`.
        """
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        if self._token:  # redirects lead to where the bytes lie, and a token is not sent on to another host
            headers["Authorization"] = f"Bearer {self._token}"
        client = self._hub.get_session()
        with client.stream("GET", self._url(), headers=headers, timeout=self._timeout) as response:
            status = response.status_code
            if status in _LATER:
                raise ConnectionError(f"status {status}")
            if status == _NOTHING_THERE:
                yield start, iter(())
            elif status in (200, 206):
                yield (start if status == 206 else 0), response.iter_bytes()
            else:
                raise DownloadFailed(self._refused(status))

    def close(self) -> None:
        """Let go of the connections."""
        self._hub.close_session()

    def _url(self) -> str:
        entry = self._entry
        return self._hub.hf_hub_url(entry.repository, entry.file, revision=self._revision, endpoint=self._endpoint)

    def _refused(self, status: int) -> str:
        entry = self._entry
        page = f"{self._endpoint}/{entry.repository}"
        if status in (401, 403):
            return (
                f"{page} is gated or asks for a login (status {status}): accept its terms there, make a token, "
                f"and set HF_TOKEN for this command, {_COPY_HINT}"
            )
        if status == 404:
            return f"{page} has no {entry.file} any more (status 404): choose another with 'charlie models list'"
        return f"{page} answers with status {status}: try again later, {_COPY_HINT}"


def _fetch_into(place: Path, hub: _Hub, pin: Pin, how: Fetching) -> None:
    """Take the bytes, check them, move them to `place`."""
    partial = place.parent / _PARTIAL / f"{place.name}.{pin.sha256[:16]}"
    partial.parent.mkdir(mode=0o700, exist_ok=True)
    for older in _partials(place.parent, place.name):
        if older != partial:  # of a file that the hub has replaced
            older.unlink()
    with partial.open("ab") as file:
        _lock(file, place.name)
        _check_room(file.tell(), pin, how.free_bytes(partial.parent))
        _take(file, hub, pin, how)
        file.flush()
        os.fsync(file.fileno())
        _check(partial, pin, place)
        os.replace(partial, place)


def _take(file: BinaryIO, hub: _Hub, pin: Pin, how: Fetching) -> None:
    """Append what is missing; a lost connection is taken up again where it broke off."""
    pauses = iter(how.patience.pauses_s)
    while (done := file.tell()) < pin.size_bytes:
        try:
            _take_once(file, hub, pin, how)
        except hub.lost:
            if file.tell() > done:
                pauses = iter(how.patience.pauses_s)
            pause_s = next(pauses, None)
            if pause_s is None:
                file.flush()
                raise DownloadFailed(_broken_off(pin, file.tell())) from None
            _wait(pause_s, how.stopping)
        else:
            if file.tell() == done:
                break  # the server has no more than that


def _take_once(file: BinaryIO, hub: _Hub, pin: Pin, how: Fetching) -> None:
    with hub.bytes_from(file.tell()) as (start, pieces):
        if start != file.tell():
            file.truncate(0)  # opened for appending: what follows is written at the end that there is now
            file.seek(0)
        how.on_progress(start, pin.size_bytes)
        for piece in pieces:
            file.write(piece)
            how.on_progress(min(file.tell(), pin.size_bytes), pin.size_bytes)
            if how.stopping():
                raise Stopped
            if file.tell() > pin.size_bytes:
                return


def _check(partial: Path, pin: Pin, place: Path) -> None:
    """Raises DownloadFailed where the bytes are not those that the hub promised; they are then kept aside."""
    size = partial.stat().st_size
    if size != pin.size_bytes:
        problem = f"has {size:,} bytes instead of {pin.size_bytes:,}"
    elif _sha256(partial) != pin.sha256:
        problem = "has another SHA-256 than the hub says"
    else:
        return
    aside = place.with_name(f"{place.name}.bad")
    os.replace(partial, aside)
    raise DownloadFailed(f"what came for {place.name} {problem}: kept as {aside} and not used; pull it again")


def _check_there(place: Path, pin: Pin) -> None:
    """Raises DownloadFailed where another file lies at `place`: one that somebody put there is never overwritten."""
    if place.stat().st_size != pin.size_bytes or _sha256(place) != pin.sha256:
        raise DownloadFailed(
            f"{place} is there and is not the hub's file: use it as it is with 'charlie models use {place.name}', "
            f"or remove it with 'charlie models rm {place.name}' and pull again"
        )


def _check_room(done: int, pin: Pin, free: int) -> None:
    missing = pin.size_bytes - done
    if missing + _LEFT_FREE_BYTES > free:
        raise DownloadFailed(
            f"{_mb(missing)} are to come and {_mb(free)} are free on the disk, of which Charlie leaves "
            f"{_mb(_LEFT_FREE_BYTES)} alone: make room, then pull again"
        )


def _lock(file: BinaryIO, name: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DownloadFailed(f"{name} is being fetched by another Charlie: wait for that one") from None


def _wait(pause_s: float, stopping: Callable[[], bool]) -> None:
    end_s = time.monotonic() + pause_s
    while (left_s := end_s - time.monotonic()) > 0:
        if stopping():
            raise Stopped
        time.sleep(min(left_s, 0.1))


def _partials(folder: Path, file: str) -> list[Path]:
    return [
        path for path in (folder / _PARTIAL).glob("*") if re.fullmatch(rf"{re.escape(file)}\.[0-9a-f]{{16}}", path.name)
    ]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_words(error: OSError, entry: CatalogEntry) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full: make room, then 'charlie models pull {entry.name}' goes on where it stopped"
    return f"{error.filename or entry.file} cannot be written: {error.strerror or type(error).__name__}"


def _broken_off(pin: Pin, done: int) -> str:
    return (
        f"the connection was lost after {_mb(done)} of {_mb(pin.size_bytes)}, which are kept: "
        f"'charlie models pull {pin.name}' goes on from there, {_COPY_HINT}"
    )


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MB"

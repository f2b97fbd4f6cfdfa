"""Fetching from a hub on loopback: what arrives, what is kept when it does not, and what is never left behind."""

import fcntl
import hashlib
import random
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.errors import DownloadFailed, Stopped
from backend.inference.catalog import CatalogEntry, read_catalog, read_pins
from backend.inference.download import Fetching, Patience, discard_partial, fetch, partial_bytes
from tests.hub import REVISION, Hub, serve_hub

PAYLOAD = random.Random(0).randbytes(3_000_000)
ENTRY = replace(next(entry for entry in read_catalog() if entry.default), file="model.gguf")
# Gives a connection up after a third of a second, at once.
HASTY = Patience(silence_s=0.3, pauses_s=())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the file, and to which the environment points."""
    with serve_hub(PAYLOAD) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where models go; not there yet."""
    return tmp_path / "home" / "models"


def listing(folder: Path) -> set[str]:
    """Names in the folder, but for the memory of what was checked."""
    return {path.name for path in folder.iterdir()} - {"installed.json"}


def failing(folder: Path, patience: Patience = HASTY, entry: CatalogEntry = ENTRY) -> str:
    """What a fetch that must fail says; no file has come into place by it."""
    with pytest.raises(DownloadFailed) as raised:
        fetch(entry, folder, Fetching(patience=patience))
    assert not (folder / entry.file).exists()
    assert read_pins(folder) == {}
    return str(raised.value)


def test_file_arrives_checked_and_pinned(hub: Hub, folder: Path) -> None:
    """The bytes are the hub's, the folder is private, and size, hash and revision are remembered."""
    told: list[tuple[int, int]] = []
    pin = fetch(ENTRY, folder, Fetching(on_progress=lambda done, total: told.append((done, total))))
    assert (folder / "model.gguf").read_bytes() == PAYLOAD
    assert listing(folder) == {"model.gguf", ".partial"}
    assert not list((folder / ".partial").iterdir())
    assert folder.stat().st_mode & 0o077 == 0
    assert (pin.revision, pin.size_bytes, pin.name) == (REVISION, len(PAYLOAD), ENTRY.name)
    assert read_pins(folder) == {"model.gguf": pin}
    assert told == sorted(told)
    assert (told[0], told[-1]) == ((0, len(PAYLOAD)), (len(PAYLOAD), len(PAYLOAD)))


def test_bytes_come_from_the_revision_that_was_checked(hub: Hub, folder: Path) -> None:
    """The metadata is asked of `main`, the bytes of the commit it named: a push in between changes nothing."""
    fetch(ENTRY, folder, Fetching())
    paths = [path for _, path, _ in hub.requests]
    assert paths[0] == f"/{ENTRY.repository}/resolve/main/model.gguf"
    assert all(REVISION in path for path in paths[1:])


def test_token_goes_to_the_hub_alone(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_TOKEN is sent where it belongs, and not on to the host where the bytes lie."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(ENTRY, folder, Fetching())
    sent = {path.startswith("/cdn/"): headers.get("authorization") for _, path, headers in hub.requests}
    assert sent == {False: "Bearer hf_secret", True: None}


def test_lost_connection_is_taken_up_where_it_broke_off(hub: Hub, folder: Path) -> None:
    """Two breaks in one fetch cost two pauses and no byte twice."""
    hub.drops = [1_000_000, 500_000]
    fetch(ENTRY, folder, Fetching(patience=Patience(pauses_s=(0.01,))))
    assert (folder / "model.gguf").read_bytes() == PAYLOAD
    assert hub.ranges == ["bytes=0-", "bytes=1000000-", "bytes=1500000-"]


def test_what_came_is_kept_for_the_next_time(hub: Hub, folder: Path) -> None:
    """A fetch that fails says how much is kept, and the next one asks for the rest only."""
    hub.drops = [1_000_000]
    said = failing(folder)
    assert "1 MB of 3 MB, which are kept" in said
    assert f"charlie models pull {ENTRY.name}" in said
    assert partial_bytes(folder, "model.gguf") == 1_000_000
    told: list[int] = []
    fetch(ENTRY, folder, Fetching(on_progress=lambda done, _total: told.append(done)))
    assert (folder / "model.gguf").read_bytes() == PAYLOAD
    assert (hub.ranges[-1], told[0]) == ("bytes=1000000-", 1_000_000)


def test_server_without_ranges_is_read_anew(hub: Hub, folder: Path) -> None:
    """Where the rest cannot be had alone, all is fetched, and what there was is not doubled."""
    hub.drops, hub.knows_ranges = [1_000_000], False
    fetch(ENTRY, folder, Fetching(patience=Patience(pauses_s=(0.01,))))
    assert (folder / "model.gguf").read_bytes() == PAYLOAD


def test_silence_counts_as_lost(hub: Hub, folder: Path) -> None:
    """A connection over which nothing comes is given up, and what came is kept."""
    hub.stalls_after = 655_360
    assert "connection was lost" in failing(folder)
    assert partial_bytes(folder, "model.gguf") > 500_000


def test_slow_is_not_lost(hub: Hub, folder: Path) -> None:
    """A connection that takes longer than the silence allowed, but never pauses so long, is good."""
    hub.pause_s = 0.02
    fetch(ENTRY, folder, Fetching(patience=HASTY))
    assert (folder / "model.gguf").read_bytes() == PAYLOAD


@pytest.mark.parametrize("promised", [2_900_000, 3_100_000])
def test_wrong_size_is_kept_aside(hub: Hub, folder: Path, promised: int) -> None:
    """More or fewer bytes than the hub says: not used, kept as *.bad, and nothing to resume from."""
    hub.size = promised
    assert f"instead of {promised:,}" in failing(folder)
    assert listing(folder) == {"model.gguf.bad", ".partial"}
    assert partial_bytes(folder, "model.gguf") == 0


def test_wrong_hash_is_kept_aside_and_fetched_anew(hub: Hub, folder: Path) -> None:
    """Other bytes than the hub says are not used; the next fetch begins at the first byte and heals it."""
    hub.payload = PAYLOAD[:-1] + b"?"
    hub.sha256 = hashlib.sha256(PAYLOAD).hexdigest()
    assert "another SHA-256" in failing(folder)
    assert (folder / "model.gguf.bad").read_bytes() == hub.payload
    hub.payload = PAYLOAD
    fetch(ENTRY, folder, Fetching())
    assert (folder / "model.gguf").read_bytes() == PAYLOAD
    assert hub.ranges[-1] == "bytes=0-"


def refuse(hub: Hub, status: int) -> None:
    """The hub's own answer."""
    hub.status = status


def refuse_gated(hub: Hub, status: int) -> None:
    """The hub's own answer for a gated repository."""
    hub.status, hub.is_gated = status, True


def refuse_bytes(hub: Hub, status: int) -> None:
    """The answer of the host with the bytes."""
    hub.bytes_status = status


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (refuse_gated, 401, "gated"),
        (refuse_gated, 403, "HF_TOKEN"),
        (refuse, 401, "asks for a login"),
        (refuse, 404, "has no model.gguf any more"),
        (refuse, 500, "status 500: try again later"),
        (refuse_bytes, 403, "status 403"),
        (refuse_bytes, 404, "status 404"),
        (refuse_bytes, 503, "connection was lost after 0 MB"),
    ],
)
def test_refusals_say_what_to_do(
    hub: Hub, folder: Path, fault: Callable[[Hub, int], None], status: int, said: str
) -> None:
    """Each way to be refused has its own advice, in one line."""
    fault(hub, status)
    message = failing(folder)
    assert said in message
    assert "\n" not in message


def test_no_network_says_how_to_do_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody at the address the file can be copied here, and the message says how."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = failing(folder)
    assert "cannot be reached" in said
    assert "charlie models use PATH" in said


@pytest.mark.parametrize("address", ["localhost:1", "nonsense", "http://[::1", "http://exa mple.invalid"])
def test_address_that_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """An HF_ENDPOINT that is no address is a refusal like any other."""
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert address in failing(folder)


def test_server_that_is_no_hub(hub: Hub, folder: Path) -> None:
    """Without size, hash and revision there is nothing to check by: nothing is fetched."""
    hub.is_hub = False
    assert "HF_ENDPOINT" in failing(folder)
    assert hub.ranges == []


def test_stopping_keeps_what_came(hub: Hub, folder: Path) -> None:
    """Told to stop, the fetch ends at the next piece and can be gone on with."""
    seen: list[int] = []
    how = Fetching(on_progress=lambda done, _total: seen.append(done), stopping=lambda: max(seen) > 1_000_000)
    with pytest.raises(Stopped):
        fetch(ENTRY, folder, how)
    assert 1_000_000 < partial_bytes(folder, "model.gguf") < len(PAYLOAD)


def test_no_room_is_said_before_anything_comes(hub: Hub, folder: Path) -> None:
    """Missing and free are told in numbers, and no byte is asked for."""
    how = Fetching(free_bytes=lambda _folder: 100 * 2**20)
    with pytest.raises(DownloadFailed, match="3 MB are to come and 100 MB are free"):
        fetch(ENTRY, folder, how)
    assert hub.ranges == []


def test_full_disk_in_the_middle(hub: Hub, folder: Path) -> None:
    """When the system takes no more bytes, what came is kept and the next fetch goes on from there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        said = failing(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "the disk is full" in said
    kept = partial_bytes(folder, "model.gguf")
    assert 1_000_000 < kept <= 2_000_000
    fetch(ENTRY, folder, Fetching())
    assert hub.ranges[-1] == f"bytes={kept}-"
    assert (folder / "model.gguf").read_bytes() == PAYLOAD


def test_folder_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    """A file in the way of the folder is named."""
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(DownloadFailed, match="models"):
        fetch(ENTRY, tmp_path / "models", Fetching())


def test_two_at_once(hub: Hub, folder: Path) -> None:
    """While one Charlie fetches a file, another leaves it alone."""
    hub.drops = [1_000_000]
    failing(folder)
    (partial,) = (folder / ".partial").iterdir()
    with partial.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another Charlie" in failing(folder)


def test_file_that_the_hub_has_replaced(hub: Hub, folder: Path) -> None:
    """What came of the old file is no beginning of the new one."""
    hub.drops = [1_000_000]
    failing(folder)
    hub.payload = random.Random(1).randbytes(2_000_000)
    fetch(ENTRY, folder, Fetching())
    assert (folder / "model.gguf").read_bytes() == hub.payload
    assert hub.ranges[-1] == "bytes=0-"
    assert not list((folder / ".partial").iterdir())


def test_copied_file_is_recognised(hub: Hub, folder: Path) -> None:
    """The hub's own file, copied here by hand, is checked and pinned without fetching a byte of it."""
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(PAYLOAD)
    pin = fetch(ENTRY, folder, Fetching())
    assert read_pins(folder) == {"model.gguf": pin}
    assert hub.ranges == []


def test_other_file_of_that_name_is_left_alone(hub: Hub, folder: Path) -> None:
    """What somebody put there is not overwritten."""
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(b"mine")
    with pytest.raises(DownloadFailed, match="is not the hub's file"):
        fetch(ENTRY, folder, Fetching())
    assert (folder / "model.gguf").read_bytes() == b"mine"


def test_leftovers_can_be_removed(hub: Hub, folder: Path) -> None:
    """Unfinished and refused downloads of one file go; those of others stay."""
    hub.drops = [1_000_000]
    failing(folder)
    (folder / "model.gguf.bad").write_bytes(b"bad")
    hub.drops = [1_000_000]
    failing(folder, entry=replace(ENTRY, file="other.gguf"))
    assert discard_partial(folder, "model.gguf") == 2
    assert partial_bytes(folder, "model.gguf") == 0
    assert partial_bytes(folder, "other.gguf") == 1_000_000

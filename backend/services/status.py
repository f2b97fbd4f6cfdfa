"""One snapshot of what goes on; asking costs a few reads and never wakes a model."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import redis

from backend.database import keys
from backend.database.connection import translated
from backend.database.redis_ops import PENDING
from backend.database.stores import Stores
from backend.domain import EpisodeStatus, ModelState, ModelStatus, Status

NO_MODEL = ModelStatus(ModelState.UNLOADED, "", "", 0, 0.0)


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What the process that runs the worker says of itself."""

    pid: int
    model: ModelStatus
    reading_uuid: str = ""
    problem: str = ""


class Board:
    """Where the worker writes its state for other processes to see; the last one stays when it ends."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def write(self, state: WorkerState) -> None:
        """Replace the state."""
        with translated():
            self._client.set(keys.WORKER, json.dumps(asdict(state)))

    def read(self) -> WorkerState | None:
        """The state as last written; None before the first worker."""
        with translated():
            raw = self._client.get(keys.WORKER)
        if not raw:
            return None
        try:
            state = json.loads(raw)
            model = state.pop("model")
            return WorkerState(model=ModelStatus(**model | {"state": ModelState(model["state"])}), **state)
        except (ValueError, TypeError, KeyError):
            # Written by another version of Charlie.
            return None


def snapshot(
    stores: Stores,
    *,
    reader: str,
    own: WorkerState | None,
    holder_pid: int | None,
    read_board: Callable[[], WorkerState | None],
    own_pid: int,
    notice: str = "",
) -> Status:
    """What is going on; `own` is this process's worker, `holder_pid` who holds the worker lock."""
    is_own = own is not None and holder_pid in (None, own_pid)
    state = own if is_own else read_board() if holder_pid is not None else None
    if state is None or (not is_own and state.pid != holder_pid):
        state = WorkerState(holder_pid or 0, NO_MODEL)
    worker = "nobody" if holder_pid is None else "this process" if holder_pid == own_pid else f"process {holder_pid}"
    ledger, names = stores.ledger, stores.schema.journals()
    return Status(
        journals={name: stores.schema.n_episodes(name) for name in names},
        pending=ledger.count(*PENDING),
        dead=ledger.count(EpisodeStatus.DEAD),
        model=state.model,
        reader=reader,
        reading_uuid=state.reading_uuid,
        problem=state.problem,
        worker=worker,
        notice=notice,
        unsure=sum(stores.review.count(name) for name in names),
    )

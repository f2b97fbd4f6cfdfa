"""How good and how quick a model is on this machine: it reads a dozen annotated entries in a child process.

In a child, so that whatever memory it takes comes back at once, a crash takes nothing with it, and it can be stopped
at any moment. The shipped tagger reads the same entries first: it is what a model has to be better than.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from backend.errors import DownloadFailed, InferenceError, ModelUnknown, SettingsError, Stopped
from backend.graph.gold import SELF_TEST_IDS
from backend.inference.catalog import nearest
from backend.services.models import list_models
from backend.services.verdict import TAGGER, Figures, SelfTest, judge
from backend.settings import CHECKOUT, Settings

SERVER = "server"
_LOOK_EVERY_S: Final = 0.1
# What a child that was asked to stop gets for freeing its model, seconds.
_END_WITHIN_S: Final = 3.0
# Without a word for so long it hangs: the slowest machine reads an entry of 200 words in less.
_SILENCE_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a self-test is."""

    # "loading" or "reading".
    doing: str
    # Entries read.
    done: int
    of: int
    # Of the reading; None before there is anything to go by.
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """The model that a person names."""

    name: str
    # "tagger" or "llm".
    kind: str
    # What the settings of the child are to say; None in `llm_path` for the server or the tagger.
    llm_path: str | None = None
    is_server: bool = False


def candidate(settings: Settings, choice: str) -> Candidate:
    """The model of this name in the list, in a file at this path, "tagger" or "server".

    Raises:
        ModelUnknown: there is none of this name.
        DownloadFailed: it is in the catalogue and has not been fetched.
        SettingsError: "server", and none is set.
    """
    if choice.lower() == TAGGER:
        return Candidate(TAGGER, TAGGER)
    if choice.lower() == SERVER or choice in (settings.llm_url, settings.llm_model):
        if settings.llm_url is None:
            raise SettingsError("llm_url", "settings", "no server is set: CHARLIE_LLM_URL=http://127.0.0.1:8080/v1")
        return Candidate(settings.llm_model or settings.llm_url, "llm", is_server=True)
    path = Path(choice).expanduser()
    if os.sep in choice or path.is_file():
        return Candidate(path.name, "llm", str(path.absolute()))
    models = [model for model in list_models(settings) if model.kind == "llm"]
    for model in models:
        if choice.lower() in {model.name.lower(), *([model.path.stem.lower()] if model.path else [])}:
            if model.path is None:
                raise DownloadFailed(f"{model.name} is not on this machine: 'charlie models pull {model.name}'")
            return Candidate(model.name, "llm", str(model.path))
    raise ModelUnknown(choice, nearest([TAGGER, *(model.name for model in models)], choice))


def run_self_test(
    settings: Settings,
    choice: str,
    *,
    n_journal: int,
    held: str = "",
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    stopping: Callable[[], bool] = lambda: False,
) -> SelfTest:
    """Have a model read the dozen; `on_progress` is called in this thread.

    `held` names a model that the running Charlie has loaded, which is said where the memory does not allow two.

    Raises:
        ModelUnknown, DownloadFailed, SettingsError: see `candidate`.
        InferenceError: no process can be started, or it cannot be loaded or read with; nothing is left of it.
        Stopped: `stopping` said so; nothing is left of it either.
    """
    chosen = candidate(settings, choice)
    started_s: float | None = None
    said: dict[str, Any] = {}
    for said in _child(settings, chosen, stopping):
        if "error" in said:
            raise InferenceError(_refusal(said, held))
        if "doing" in said:
            done, of = said["done"], said["of"]
            started_s = time.monotonic() if done == 0 else started_s
            left_s = (time.monotonic() - started_s) / done * (of - done) if done and started_s is not None else None
            on_progress(Progress(said["doing"], done, of, left_s))
    if "model" not in said:
        problem = f"the process that tried {chosen.name} ended before it was done, perhaps for lack of memory"
        raise InferenceError(f"{problem}: close other programs and try again, or choose a smaller model")
    model, tagger = Figures(**said["model"]), Figures(**said["tagger"])
    return SelfTest(
        chosen.name,
        len(SELF_TEST_IDS),
        model,
        tagger,
        judge(model, tagger, is_tagger=chosen.kind == TAGGER),
        n_journal,
        n_journal * model.seconds_an_entry,
    )


def _refusal(said: dict[str, Any], held: str) -> str:
    beside = f" ({held} is loaded in Charlie: try again when it is at rest)" if held and said.get("is_memory") else ""
    return f"{said['error']}{beside}"


def _child(settings: Settings, chosen: Candidate, stopping: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """What the child says, one object after another. It ends with its input, so never outlives this process."""
    asked = {
        "home": str(settings.home),
        "kind": chosen.kind,
        "llm_path": chosen.llm_path,
        "is_server": chosen.is_server,
    }
    try:
        started = subprocess.Popen(
            [sys.executable, "-m", "backend.services.self_test_child", json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        )
    except OSError as error:
        raise InferenceError(
            f"no process to try {chosen.name} in can be started ({error.strerror}): close other programs, try again"
        ) from error
    with started as child:
        try:
            yield from _said(child, stopping)
        finally:
            _end(child)


def _said(child: subprocess.Popen[bytes], stopping: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    lines: SimpleQueue[bytes] = SimpleQueue()
    stdout = child.stdout
    assert stdout is not None  # it was asked for

    def listen() -> None:
        for line in stdout:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=listen, name="self-test", daemon=True).start()
    heard_s = time.monotonic()
    while True:
        if stopping():
            raise Stopped
        try:
            line = lines.get(timeout=_LOOK_EVERY_S)
        except Empty:
            if time.monotonic() - heard_s > _SILENCE_S:
                raise InferenceError("the model gave no answer for half an hour") from None
            continue
        if not line:
            return
        heard_s = time.monotonic()
        yield json.loads(line)


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None  # it was asked for
    child.stdin.close()
    try:
        child.wait(_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()

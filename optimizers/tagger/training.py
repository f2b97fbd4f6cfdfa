"""Trains the tagger's network on texts that every epoch gives anew."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from optimizers.tagger.distillation import Taught, Teachers, taught
from optimizers.tagger.examples import Example
from optimizers.tagger.network import Network, distance, loss_of

_WARM_UP: Final = 0.1
_HEAD_RATE: Final = 1e-3
# Windows of one length share a batch: sorted within so many, batches shuffled.
_SORTED_TOGETHER: Final = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training run is made of; the seed and these make the same weights on the same machine."""

    epochs: int = 5
    # Learning rate of the encoder at its highest.
    rate: float = 2e-4
    # Which part of the passages an epoch reads.
    passages: float = 1.0
    # Share of the word pieces of public texts that are hidden.
    masked: float = 0.0
    # Share of the public texts that are read as a journal is, with the teachers' word for what is in them.
    unsigned: float = 0.0
    # What the teachers' word weighs beside the marks, from 0 to 1; nothing where there are none.
    taught: float = 0.7
    # Tokens of a batch, padding included.
    batch_tokens: int = 3_072
    # How much of the former weights the kept average holds after each step.
    average: float = 0.995
    # Chance that a text loses its capitals, or names of it are exchanged for others.
    lower_case: float = 0.1
    exchanged: float = 0.3
    # Chance that a passage goes on with another, as in a longer entry.
    joined: float = 0.3
    seed: int = 0
    is_bf16: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """How far training is."""

    epoch: int
    done: float
    loss: float
    seconds_left: float


def train(
    pretrained: Path,
    epoch_of: Callable[[random.Random], Sequence[Example]],
    plan: Plan,
    *,
    teachers: Teachers | None = None,
    on_step: Callable[[Step], None] = lambda _step: None,
    on_epoch: Callable[[int, Network], None] = lambda _epoch, _network: None,
) -> Network:
    """A trained network: the moving average of its weights.

    `epoch_of` makes the windows of one epoch; about as many every time, or the rate falls too early or too late.
    """
    random_ = random.Random(plan.seed)
    torch.manual_seed(plan.seed)
    network, kept = Network(pretrained), Network(pretrained)
    kept.load_state_dict(network.state_dict())
    head = [p for name, p in network.named_parameters() if not name.startswith("encoder")]
    groups = [{"params": network.encoder.parameters(), "lr": plan.rate}, {"params": head, "lr": _HEAD_RATE}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    started_s, done, n_steps = time.monotonic(), 0, 0
    for epoch in range(plan.epochs):
        batches = _batches(epoch_of(random_), plan, random_)
        n_steps = n_steps or len(batches) * plan.epochs
        network.train()
        for one in taught(batches, teachers):
            rate = _rate(done / n_steps)
            for group, highest in zip(optimizer.param_groups, (plan.rate, _HEAD_RATE), strict=True):
                group["lr"] = highest * rate
            loss = _learn(network, optimizer, one, plan)
            done += 1
            _average(kept, network, min(plan.average, done / (done + 10)))
            passed = min(1.0, done / n_steps)
            on_step(Step(epoch, passed, loss, (time.monotonic() - started_s) * (1 - passed) / passed))
        on_epoch(epoch, kept)
    return kept


def _learn(network: Network, optimizer: torch.optim.Optimizer, one: Taught, plan: Plan) -> float:
    batch = one.batch.masked(plan.masked) if plan.masked else one.batch
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=plan.is_bf16):
        logits = network(batch)
    loss = loss_of(logits.float(), batch)
    if one.chances is not None:
        loss = (1 - plan.taught) * loss + plan.taught * distance(logits.float(), one.chances, batch)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _rate(done: float) -> float:
    """Up to the highest rate, then down to nothing, in straight lines."""
    return min(done / _WARM_UP, max(0.0, (1 - done) / (1 - _WARM_UP)))


@torch.no_grad()
def _average(kept: Network, network: Network, share: float) -> None:
    for old, new in zip(kept.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1 - share)


def _batches(windows: Sequence[Example], plan: Plan, random_: random.Random) -> list[list[Example]]:
    pool = random_.sample(windows, len(windows))
    batches: list[list[Example]] = []
    for start in range(0, len(pool), _SORTED_TOGETHER):
        batch: list[Example] = []
        for one in sorted(pool[start : start + _SORTED_TOGETHER], key=lambda one: one.window.n_tokens):
            if batch and (len(batch) + 1) * one.window.n_tokens > plan.batch_tokens:
                batches.append(batch)
                batch = []
            batch.append(one)
        batches.append(batch)
    random_.shuffle(batches)
    return batches

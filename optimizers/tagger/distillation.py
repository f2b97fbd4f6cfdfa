"""Distillation: what several networks think of a text together is learnt by one (Hinton, Vinyals and Dean 2015).

The teachers think in a thread of their own, one batch ahead of the one who learns: a second core makes them free.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from optimizers.tagger.examples import Example
from optimizers.tagger.network import Batch, Network, make_batch


@dataclass(frozen=True, slots=True)
class Taught:
    """A batch, and what the teachers think of it."""

    batch: Batch
    # Shape (windows, words, labels); None where there is no teacher.
    chances: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Teachers:
    """Networks that were trained apart."""

    # They are asked about every text, and these about public ones besides.
    all_round: Sequence[Network]
    public: Sequence[Network]
    is_bf16: bool = True

    @torch.no_grad()
    def chances(self, batch: Batch) -> torch.Tensor:
        """The mean of their labels' chances, shape (windows, words, labels)."""
        total = self._total(self.all_round, batch)
        n_asked = torch.full((len(total), 1, 1), float(len(self.all_round)))
        if self.public and batch.is_public.any():
            total[batch.is_public] += self._total(self.public, batch.public())
            n_asked[batch.is_public] += len(self.public)
        return total / n_asked

    def _total(self, networks: Sequence[Network], batch: Batch) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.is_bf16):
            asked = [torch.softmax(network.eval()(batch).float(), dim=-1) for network in networks]
        return torch.stack(asked).sum(dim=0)


def taught(batches: Sequence[list[Example]], teachers: Teachers | None) -> Iterator[Taught]:
    """The batches in order, with the teachers' word."""
    if teachers is None:
        yield from (Taught(make_batch(batch), None) for batch in batches)
        return

    def asked(batch: list[Example]) -> Taught:
        # A thread has its own number of threads; with one, sums are added up in one order.
        torch.set_num_threads(1)
        made = make_batch(batch)
        return Taught(made, teachers.chances(made))

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(asked, batches[0])
        for batch in batches[1:]:
            now, ahead = ahead, pool.submit(asked, batch)
            yield now.result()
        yield ahead.result()

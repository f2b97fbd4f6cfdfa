"""The tagger's network in PyTorch: the pretrained encoder, and a head of two layers over each word's first piece."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from transformers import BertModel
from transformers.utils import logging as transformers_logging

from backend.inference.tag_head import N_LABELS, features_of
from backend.inference.tag_input import N_MARKS
from optimizers.tagger.examples import Example

# The head sees a word's vector, its marks, and those of the words before and after it.
N_FEATURES: Final = 3 * N_MARKS
HIDDEN: Final = 256
_IMPOSSIBLE: Final = -1e4
# Of BERT's vocabulary: what hides a piece, and the first row that is one.
_MASK, _FIRST_PIECE = 103, 999
# Windows that are read side by side where nothing is learnt.
_BATCH: Final = 32


class Network(nn.Module):
    """Encoder and head; gives the logits of each word's labels."""

    def __init__(self, pretrained: Path | str, dropout: float = 0.1) -> None:
        super().__init__()
        # A table of what the encoder's file has besides: it reads like a failure.
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        # On a CPU the fused attention's backward pass takes two fifths of a step, and dropping attention a fourth.
        self.encoder = BertModel.from_pretrained(
            pretrained, add_pooling_layer=False, attn_implementation="eager", attention_probs_dropout_prob=0.0
        )
        width = self.encoder.config.hidden_size
        self.hidden = nn.Linear(width + N_FEATURES, HIDDEN)
        self.out = nn.Linear(HIDDEN, N_LABELS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: "Batch") -> torch.Tensor:
        """Logits, shape (windows, words, labels)."""
        states = self.encoder(batch.tokens, attention_mask=batch.mask).last_hidden_state.float()
        firsts = batch.firsts.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        words = torch.cat([self.dropout(states.gather(1, firsts)), batch.features], dim=-1)
        return self.out(self.dropout(nn.functional.gelu(self.hidden(words))))


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows padded to one length; shapes (n, tokens), (n, tokens), (n, words), (n, words, features)."""

    tokens: torch.Tensor
    mask: torch.Tensor
    firsts: torch.Tensor
    features: torch.Tensor
    # (n, words, labels): whether the word may have the label; all False for words that do not count.
    allowed: torch.Tensor
    # (n, words): whether the word counts; not so context and padding.
    counts: torch.Tensor
    # (n,): whether the window is of a public text.
    is_public: torch.Tensor

    def masked(self, share: float) -> "Batch":
        """With that share of the public windows' pieces hidden; the signs stay."""
        drawn = (torch.rand(self.tokens.shape) < share) & (self.tokens >= _FIRST_PIECE) & self.is_public[:, None]
        return replace(self, tokens=self.tokens.masked_fill(drawn, _MASK))

    def public(self) -> "Batch":
        """Its public windows alone."""
        return Batch(*(getattr(self, one.name)[self.is_public] for one in fields(self)))


def make_batch(examples: Sequence[Example]) -> Batch:
    """The examples side by side."""
    n_tokens = _rounded_up(max(example.window.n_tokens for example in examples))
    n_words = _rounded_up(max(len(example.window.read) for example in examples))
    n = len(examples)
    tokens = np.zeros((n, n_tokens), dtype=np.int64)
    mask = np.zeros((n, n_tokens), dtype=np.int64)
    firsts = np.zeros((n, n_words), dtype=np.int64)
    features = np.zeros((n, n_words, N_FEATURES), dtype=np.float32)
    allowed = np.zeros((n, n_words), dtype=np.int64)
    for row, example in enumerate(examples):
        window = example.window
        tokens[row, : window.n_tokens] = window.tokens
        mask[row, : window.n_tokens] = 1
        firsts[row, : len(window.read)] = window.firsts
        features[row, : len(window.read)] = features_of(window)
        allowed[row, : len(window.read)] = example.allowed
    bits = (allowed[..., None] >> np.arange(N_LABELS)) & 1
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(mask),
        torch.from_numpy(firsts),
        torch.from_numpy(features),
        torch.from_numpy(bits.astype(bool)),
        torch.from_numpy(allowed > 0),
        torch.tensor([example.is_public for example in examples]),
    )


def _rounded_up(length: int) -> int:
    """A multiple of 32: PyTorch keeps working memory for every shape it has met, 7 GB of them otherwise."""
    return -(-length // 32) * 32


def loss_of(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean over words of minus the logarithm of the chance that their allowed labels have together."""
    chances = torch.log_softmax(logits, dim=-1)
    allowed = torch.where(batch.allowed, chances, torch.full_like(chances, _IMPOSSIBLE))
    return _mean(-torch.logsumexp(allowed, dim=-1), batch)


def distance(logits: torch.Tensor, chances: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean over words of the cross-entropy of the labels' chances, shape (windows, words, labels), to `chances`."""
    return _mean(-(chances * torch.log_softmax(logits, dim=-1)).sum(dim=-1), batch)


def _mean(each: torch.Tensor, batch: Batch) -> torch.Tensor:
    return each[batch.counts].sum() / batch.counts.sum().clamp(min=1)


@torch.no_grad()
def log_chances(network: Network, examples: Sequence[Example]) -> list[Any]:
    """Per example, the logarithms of the labels' chances, shape (words, labels), in the order given."""
    network.eval()
    order = sorted(range(len(examples)), key=lambda index: examples[index].window.n_tokens)
    found: list[Any] = [None] * len(examples)
    for start in range(0, len(order), _BATCH):
        indices = order[start : start + _BATCH]
        batch = make_batch([examples[index] for index in indices])
        rows = torch.log_softmax(network(batch), dim=-1).numpy()
        for index, row in zip(indices, rows, strict=True):
            found[index] = row[: len(examples[index].window.read)]
    return found

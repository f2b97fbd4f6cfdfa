"""The shipped weights: small, and in llama.cpp what they were in PyTorch."""

import json
from typing import Any

import numpy as np
import pytest

from backend.domain import EntityType
from backend.inference.tagger import Tagger
from backend.settings import CHECKOUT, TAGGER_HEAD_PATH, TAGGER_PATH

TUNING = CHECKOUT / "optimizers" / "data" / "gold" / "tuning.jsonl"
CODES = dict(zip(EntityType, ("PER", "PLC", "GRP", "ACT"), strict=True))


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """What the training wrote beside the weights."""
    found: dict[str, Any] = json.loads(TAGGER_PATH.with_name("charlie-tagger-v1.json").read_text())
    return found


def test_llama_cpp_finds_what_pytorch_found(tagger: Tagger, made: dict[str, Any]) -> None:
    """On the tuning entries both give the same mentions, but for one in a hundred at the edge of a decision."""
    entries = [json.loads(line) for line in TUNING.read_text("utf-8").splitlines()]
    n_same = n_all = 0
    for entry, spans in zip(entries, made["tuning_spans"], strict=True):
        theirs = {tuple(span) for span in spans}
        ours = {
            (span.start, span.end, CODES[entity.type])
            for entity in tagger.read(entry["text"]).entities
            for span in entity.spans
        }
        n_same, n_all = n_same + len(ours & theirs), n_all + len(ours | theirs)
    assert n_all > 1_000
    assert n_same / n_all > 0.985


def test_the_shipped_files_are_small() -> None:
    """Under 30 MB together, and the head is plain arrays."""
    assert TAGGER_PATH.stat().st_size + TAGGER_HEAD_PATH.stat().st_size < 30_000_000
    with np.load(TAGGER_HEAD_PATH, allow_pickle=False) as head:
        assert head["calibration"].shape == (4, 2)

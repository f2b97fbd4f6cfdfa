"""Scores a reader on a corpus of tokens with BIO tags, as CoNLL does: whole names, exact to the token.

The tokens are given as they are, with single spaces between. What the reader finds is brought back to tokens; a name
that begins or ends inside one is left out, since no tag can say so, and counted. They are pieces of links and handles
nearly all. On the WNUT17 test split the first shipped tagger gets F1 0.558 so, 0.557 when its windows are built of the
tokens themselves, and would get 0.495 if such a name were taken for all the tokens that it touches. Activities are
left out as well: no corpus has them.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from backend.domain import EntityType
from backend.errors import GoldInvalid
from backend.graph.bootstrap import Draws
from backend.graph.matching import Marked, exact_counts
from backend.graph.scoring import MentionScores, mention_scores
from backend.graph.trial import Trial

_LABELS: Final = {"PERSON": EntityType.PERSON, "PLACE": EntityType.PLACE, "GROUP": EntityType.GROUP}
TYPES: Final = tuple(_LABELS.values())


class Sentence(NamedTuple):
    """Tokens with the names in them; places count tokens."""

    tokens: tuple[str, ...]
    names: tuple[Marked, ...]

    @property
    def text(self) -> str:
        """As a reader is given it."""
        return " ".join(self.tokens)


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """How well a reader does on a corpus."""

    n_sentences: int
    n_tokens: int
    exact: MentionScores
    # Names found that begin or end inside a token, and were left out.
    n_cut: int


def read_corpus(path: Path, split: str) -> list[Sentence]:
    """The sentences of one split; the file is JSON lines of `{"split", "tokens", "tags"}`, gzipped or not.

    Raises:
        GoldInvalid: it cannot be read, or a line is not of that form; names the first one.
    """
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is no gzip file, or damaged"
        raise GoldInvalid((f"{path}: cannot be read ({reason})",)) from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if row["split"] == split:
                tokens, tags = row["tokens"], row["tags"]
                if not all(isinstance(one, str) for one in (*tokens, *tags)):
                    raise TypeError("tokens and tags are texts")
                found.append(Sentence(tuple(tokens), tuple(names_of(tokens, tags))))
        except (ValueError, KeyError, TypeError):
            raise GoldInvalid((f"{path}:{number}: is no line of tokens with as many BIO tags",)) from None
    if not found:
        raise GoldInvalid((f"{path}: has no sentences in its split {split!r}",))
    return found


def names_of(tokens: Sequence[str], tags: Sequence[str]) -> Iterator[Marked]:
    """The names that BIO tags mark; an I- that continues nothing begins a name. Raises ValueError on other tags."""
    if len(tokens) != len(tags):
        raise ValueError("as many tags as tokens")
    begin, label = 0, ""
    for number, tag in enumerate([*tags, "O"]):
        prefix, _, named = tag.partition("-")
        if tag != "O" and (prefix not in ("B", "I") or named not in _LABELS):
            raise ValueError("unknown tag")
        if label and not (prefix == "I" and named == label):
            yield Marked(begin, number, _LABELS[label])
            label = ""
        if named and not label:
            begin, label = number, named


def score_corpus(sentences: Sequence[Sentence], trials: Sequence[Trial], *, seed: int = 0) -> CorpusReport:
    """The figures; `trials` of the sentences' texts, in their order. Intervals are over sentences."""
    found, n_cut = [], 0
    for sentence, trial in zip(sentences, trials, strict=True):
        names, n_more = on_tokens(sentence.tokens, trial.marked)
        found.append(names)
        n_cut += n_more
    gold = [sentence.names for sentence in sentences]
    scores = mention_scores(found, gold, Draws(len(sentences), seed), exact_counts, TYPES)
    return CorpusReport(len(sentences), sum(len(one.tokens) for one in sentences), scores, n_cut)


def on_tokens(tokens: Sequence[str], marked: Sequence[Marked]) -> tuple[list[Marked], int]:
    """Places in the joined text as places among the tokens, and how many were left out because they cut a token."""
    firsts: dict[int, int] = {}
    ends: dict[int, int] = {}
    at = 0
    for number, token in enumerate(tokens):
        firsts[at] = number
        ends[at + len(token)] = number + 1
        at += len(token) + 1
    named = [one for one in marked if one.type in TYPES]
    whole = [one for one in named if one.start in firsts and one.end in ends]
    return [Marked(firsts[one.start], ends[one.end], one.type) for one in whole], len(named) - len(whole)

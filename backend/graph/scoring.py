"""How well a reader reads: what it found in gold entries against what was to be found, as figures with intervals.

Pure; `trial.run_trial` makes what is scored here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backend.domain import EntityType
from backend.graph.bootstrap import Counts, Draws, Score
from backend.graph.gold import GoldEntry
from backend.graph.identity_scores import b_cubed, twins
from backend.graph.matching import Marked, exact_counts, of_type, overlap_counts
from backend.graph.relation_scores import relation_counts
from backend.graph.reliability import Reliability, reliability
from backend.graph.trial import Trial


@dataclass(frozen=True, slots=True)
class MentionScores:
    """Mentions under one way of matching."""

    # The type must be right too.
    typed: Score
    # Types do not count.
    untyped: Score
    # Mentions of one type alone, found as that type.
    types: Mapping[EntityType, Score]


@dataclass(frozen=True, slots=True)
class IdentityScores:
    """Whether mentions of the same come out as the same entity, over all entries of an author; B-cubed."""

    # Among the mentions that were found and were to be found.
    matched: Score
    # Among all: a missed mention costs recall, one that is none costs precision.
    all: Score


@dataclass(frozen=True, slots=True)
class RelationScores:
    """Relations; see `relation_scores.relation_counts`."""

    typed: Score
    untyped: Score
    typed_with_evidence: Score
    untyped_with_evidence: Score


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    n: int
    of: int

    @property
    def value(self) -> float | None:
        """0 to 1; None of nothing."""
        return self.n / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Report:
    """All that is measured of a reader on a set; speed and memory are the caller's to measure."""

    n_entries: int
    n_words: int
    # Same place to the character.
    exact: MentionScores
    # Sharing a character.
    overlap: MentionScores
    identities: IdentityScores
    # None where the reader offers none.
    relations: RelationScores | None
    # Places named that have these very words, before `extract_nodes.verify` drops the others.
    evidence: Share
    # Entities named of which no place does.
    made_up: Share
    # First answers that fit their schema; None where the reader writes none.
    answers: Share | None
    # None where the reader does not say how sure it is.
    reliability: Reliability | None


def score(entries: Sequence[GoldEntry], trials: Sequence[Trial], *, seed: int = 0) -> Report:
    """The figures of a reader; `trials` in the order of `entries`. The same `seed` gives the same intervals.

    Raises:
        ValueError: no entries, or not as many trials.
    """
    if len(entries) != len(trials):
        raise ValueError(f"{len(trials)} trials of {len(entries)} entries")
    draws = Draws(len(entries), seed)
    found = [trial.marked for trial in trials]
    gold = [[Marked(one.start, one.end, one.type) for one in entry.mentions] for entry in entries]
    made = twins(entries, trials)
    matched = [twin for twin in made if twin[1] is not None and twin[2] is not None]
    n_answers = sum(trial.n_answers for trial in trials)
    return Report(
        n_entries=len(entries),
        n_words=sum(len(entry.text.split()) for entry in entries),
        exact=mention_scores(found, gold, draws, exact_counts),
        overlap=mention_scores(found, gold, draws, overlap_counts),
        identities=IdentityScores(
            draws.score(b_cubed(matched, len(entries))), draws.score(b_cubed(made, len(entries)))
        ),
        relations=_relation_scores(entries, trials, draws),
        evidence=Share(sum(one.n_standing for one in trials), sum(one.n_places for one in trials)),
        made_up=Share(sum(one.n_made_up for one in trials), sum(one.n_named for one in trials)),
        answers=Share(sum(one.n_valid for one in trials), n_answers) if n_answers else None,
        reliability=reliability(entries, trials),
    )


def mention_scores(
    found: Sequence[Sequence[Marked]],
    gold: Sequence[Sequence[Marked]],
    draws: Draws,
    counts: Callable[..., Counts],
    types: Sequence[EntityType] = tuple(EntityType),
) -> MentionScores:
    """Scores of the mentions of some texts, each in the order of its text; `counts` says how they are matched."""
    pairs = list(zip(found, gold, strict=True))

    def scored(*, typed: bool, type_: EntityType | None = None) -> Score:
        chosen = pairs if type_ is None else [(of_type(one, type_), of_type(other, type_)) for one, other in pairs]
        return draws.score([counts(one, other, typed=typed) for one, other in chosen])

    by_type = {type_: scored(typed=True, type_=type_) for type_ in types}
    return MentionScores(scored(typed=True), scored(typed=False), by_type)


def _relation_scores(entries: Sequence[GoldEntry], trials: Sequence[Trial], draws: Draws) -> RelationScores | None:
    named = [trial.relations for trial in trials]
    if all(one is None for one in named):
        return None

    def scored(*, typed: bool, with_evidence: bool) -> Score:
        return draws.score(
            [
                relation_counts(entry, one or (), typed=typed, with_evidence=with_evidence)
                for entry, one in zip(entries, named, strict=True)
            ]
        )

    return RelationScores(
        scored(typed=True, with_evidence=False),
        scored(typed=False, with_evidence=False),
        scored(typed=True, with_evidence=True),
        scored(typed=False, with_evidence=True),
    )


def as_json(report: Any) -> dict[str, Any]:
    """A dataclass of scores as values that JSON knows, to four decimals; a share has its `value` beside its counts."""
    return {name: _json(value) for name, value in asdict(report).items()}


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"n", "of"}:
        value = {**value, "value": Share(**value).value}
    return {str(name): _json(inner) for name, inner in value.items()}

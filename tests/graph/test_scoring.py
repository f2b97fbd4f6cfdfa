"""Scores on cases that can be worked out by hand."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from backend.domain import EntityType, FoundEntity, Provenance, ReaderKind, Reading, Span
from backend.errors import AnswerUnreadable, ReadingUnavailable
from backend.graph.bootstrap import Draws
from backend.graph.gold import ME, GoldEntry, GoldMention, GoldRelation, RelationKind
from backend.graph.identity_scores import b_cubed, twins
from backend.graph.matching import Marked, overlaps
from backend.graph.relation_scores import relation_counts
from backend.graph.scoring import Report, as_json, score
from backend.graph.split import TextLimit
from backend.graph.trial import NamedRelation, Trial, run_trial

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
PERSON, PLACE, GROUP = EntityType.PERSON, EntityType.PLACE, EntityType.GROUP
TEXT = "Anna Berg met Ben in Rome."

type Named = tuple[str, EntityType]


def entry(text: str, *named: tuple[str, EntityType, str], id_: str = "e", day: int = 0) -> GoldEntry:
    """A gold entry with each surface marked at its first place."""
    mentions = tuple(GoldMention(text.index(surface), surface, type_, who) for surface, type_, who in named)
    return GoldEntry(id_, "a", NOW + timedelta(days=day), text, mentions, (), ())


def entities(text: str, *named: Named) -> tuple[FoundEntity, ...]:
    """What a reader found: each surface at its first place."""
    spans = [(surface, type_, text.index(surface)) for surface, type_ in named]
    return tuple(FoundEntity(name, type_, (Span(at, at + len(name), name, 1.0),)) for name, type_, at in spans)


def trial(*found: FoundEntity, relations: Sequence[NamedRelation] | None = None) -> Trial:
    """A reader's finds with nothing made up."""
    n = len(found)
    return Trial(found, 0.1, 0, 0, n, n, n, 0, None if relations is None else tuple(relations))


def scored(*named: Named, text: str = TEXT) -> Report:
    """The report on one entry in which Anna Berg, Ben and Rome are to be found."""
    gold = entry(text, ("Anna Berg", PERSON, "anna"), ("Ben", PERSON, "ben"), ("Rome", PLACE, "rome"))
    return score([gold], [trial(*entities(text, *named))])


def f1s(report: Report) -> tuple[float, float, float, float]:
    """F1: exact typed and untyped, overlap typed and untyped."""
    four = (report.exact.typed, report.exact.untyped, report.overlap.typed, report.overlap.untyped)
    return tuple(round(one.f1.value, 4) for one in four)  # type: ignore[return-value] # four of them


def test_all_right_is_one() -> None:
    """A perfect reading has 1.0 everywhere, and its counts."""
    report = scored(("Anna Berg", PERSON), ("Ben", PERSON), ("Rome", PLACE))
    assert f1s(report) == (1, 1, 1, 1)
    typed = report.exact.typed
    assert (typed.n_right, typed.n_found, typed.n_gold) == (3, 3, 3)
    assert (typed.f1.low, typed.f1.high) == (1, 1)
    assert report.identities.all.f1.value == 1


def test_nothing_found_is_zero() -> None:
    """An empty reading has no precision to boast of."""
    report = scored()
    assert f1s(report) == (0, 0, 0, 0)
    assert (report.exact.typed.precision.value, report.exact.typed.recall.value) == (0, 0)
    assert report.evidence.value is None


def test_nothing_to_find_and_nothing_found_is_right() -> None:
    """An entry without names counts for a reader that leaves it alone, and against one that does not."""
    blank = entry("It rained.")
    assert score([blank], [trial()]).exact.typed.f1.value == 1
    assert score([blank], [trial(*entities("It rained.", ("rained", PLACE)))]).exact.typed.f1.value == 0


def test_a_wrong_type_costs_only_typed_scores() -> None:
    """Two of three right: F1 2/3 typed and 1 untyped; the types are told apart."""
    report = scored(("Anna Berg", PERSON), ("Ben", PERSON), ("Rome", GROUP))
    assert f1s(report) == (0.6667, 1, 0.6667, 1)
    assert report.exact.types[PERSON].f1.value == 1
    assert (report.exact.types[PLACE].recall.value, report.exact.types[GROUP].precision.value) == (0, 0)


def test_a_part_of_a_name_counts_by_overlap_alone() -> None:
    """`Anna` for `Anna Berg`, Ben right, Rome missed: exact 1 of 2 and 3, overlap 2 of 2 and 3."""
    assert f1s(scored(("Anna", PERSON), ("Ben", PERSON))) == (0.4, 0.4, 0.8, 0.8)


def test_two_parts_of_a_name_are_one_right() -> None:
    """A mention is matched once, from either side."""
    report = scored(("Anna", PERSON), ("Berg", PERSON))
    assert (report.overlap.typed.n_right, report.overlap.typed.n_found) == (1, 2)
    whole = scored(("Anna Berg met Ben", PERSON))
    assert whole.overlap.typed.n_right == 1


def test_typed_overlap_looks_past_another_type() -> None:
    """A place over the beginning of the name does not take the person's match."""
    report = scored(("Anna", PLACE), ("Berg", PERSON))
    assert report.overlap.typed.n_right == 1
    assert report.overlap.untyped.n_right == 1


def test_micro_averages_count_mentions() -> None:
    """An entry with three mentions weighs three times one with one."""
    one = entry(TEXT, ("Anna Berg", PERSON, "anna"), ("Ben", PERSON, "ben"), ("Rome", PLACE, "rome"))
    other = entry("Ben!", ("Ben", PERSON, "ben"))
    report = score([one, other], [trial(*entities(TEXT, ("Ben", PERSON))), trial(*entities("Ben!", ("Ben", PERSON)))])
    assert (report.exact.typed.precision.value, report.exact.typed.recall.value) == (1, 0.5)
    assert (report.n_entries, report.n_words) == (2, 7)


def test_overlap_has_as_many_pairs_as_can_be() -> None:
    """Against trying every choice, on random stretches."""
    random = np.random.default_rng(3)
    for _ in range(200):
        sides = [sorted(random.choice(16, 8, replace=False).tolist()) for _ in range(2)]
        found, gold = ([Marked(a, b, PERSON) for a, b in zip(s[::2], s[1::2], strict=True)] for s in sides)
        assert len(list(overlaps(found, gold))) == _most_pairs(found, gold)


def _most_pairs(found: Sequence[Marked], gold: Sequence[Marked]) -> int:
    if not found:
        return 0
    one, rest = found[0], found[1:]
    fitting = [n for n, other in enumerate(gold) if one.start < other.end and other.start < one.end]
    taken = [1 + _most_pairs(rest, [*gold[:n], *gold[n + 1 :]]) for n in fitting]
    return max([_most_pairs(rest, gold), *taken])


def test_intervals_are_the_same_for_the_same_seed() -> None:
    """Another seed gives others, not far away; they lie round the figure, closer with more entries."""
    rows = [(1, 2, 1, 3), (2, 2, 2, 2), (0, 1, 0, 2), (3, 4, 3, 3)] * 5
    one = Draws(len(rows), 1).score(rows)
    assert one == Draws(len(rows), 1).score(rows)
    other = Draws(len(rows), 2).score(rows)
    assert other.f1.value == one.f1.value == pytest.approx(2 * 30 / (45 + 50))
    assert other.f1.low != one.f1.low
    assert other.f1.low == pytest.approx(one.f1.low, abs=0.03)
    assert 0 < one.f1.low < one.f1.value < one.f1.high < 1
    many = Draws(10 * len(rows), 1).score(rows * 10)
    assert many.f1.high - many.f1.low < (one.f1.high - one.f1.low) / 2


def test_intervals_of_a_rare_type_are_of_the_draws_that_have_it() -> None:
    """A draw without the one entry that counts is neither right nor wrong."""
    rows = [(0, 0, 0, 0)] * 9 + [(0, 1, 0, 1)]
    assert Draws(10, 0).score(rows).f1.high == 0


def test_scores_of_nothing_are_refused() -> None:
    """No entries, or more trials than entries."""
    with pytest.raises(ValueError, match="no entries"):
        score([], [])
    with pytest.raises(ValueError, match="2 trials of 1 entries"):
        score([entry(TEXT)], [trial(), trial()])


def test_identities_by_b_cubed() -> None:
    """Found {1,2,3} and {4}, gold {1,2} and {3,4}: precision (2/3+2/3+1/3+1)/4, recall (1+1+1/2+1/2)/4."""
    rows = b_cubed([(0, "x", "g"), (0, "x", "g"), (1, "x", "h"), (1, "y", "h")], 2)
    total = [sum(column) for column in zip(*rows, strict=True)]
    assert total == pytest.approx([8 / 3, 4, 3, 4])


def test_identities_by_the_applications_own_step() -> None:
    """Across entries a name is known again, whatever its case; Mum and Linda, one person, are not."""
    first = entry("ANNA saw Mum", ("ANNA", PERSON, "anna"), ("Mum", PERSON, "mum"), id_="1", day=1)
    second = entry("Anna saw Linda", ("Anna", PERSON, "anna"), ("Linda", PERSON, "mum"), id_="2", day=2)
    found = [
        trial(*entities("Anna saw Linda", ("Anna", PERSON), ("Linda", PERSON))),
        trial(*entities("ANNA saw Mum", ("ANNA", PERSON), ("Mum", PERSON))),
    ]
    report = score([second, first], found)
    assert report.identities.matched.precision.value == 1
    assert report.identities.matched.recall.value == pytest.approx((1 + 1 + 0.5 + 0.5) / 4)
    together = {twin[1] for twin in twins([second, first], found) if twin[2] == "a/anna"}
    assert len(together) == 1


def test_identities_of_all_mentions_pay_for_what_is_missed() -> None:
    """What was not found costs recall, what is none costs precision; among matched mentions all is well."""
    report = scored(("Anna Berg", PERSON), ("met", GROUP))
    assert report.identities.matched.f1.value == 1
    assert report.identities.all.precision.value == 0.5
    assert report.identities.all.recall.value == pytest.approx(1 / 3)


STORY = "Mum and Anna live in Rome. Ben, my brother, works at Lidl."
STATED = (
    GoldRelation("anna", RelationKind.LIVES_IN, "rome", "Anna live in Rome"),
    GoldRelation("ben", RelationKind.SIBLING_OF, ME, "Ben, my brother"),
)


def _related(*named: NamedRelation, typed: bool = True, with_evidence: bool = False) -> float:
    """How many of the named relations are right in STORY."""
    marked = entry(STORY, ("Anna", PERSON, "anna"), ("Rome", PLACE, "rome"), ("Ben", PERSON, "ben"))
    gold = GoldEntry("e", "a", NOW, STORY, marked.mentions, STATED, ())
    counts = relation_counts(gold, named, typed=typed, with_evidence=with_evidence)
    assert counts[1::2] == (len(named), 2)
    return counts[0]


def test_relations_by_ends_kind_and_evidence() -> None:
    """Names are compared as names; a mutual kind may be told the other way round, a one-way kind may not."""
    lives = NamedRelation("ANNA", "lives_in", "Rome", "live in Rome")
    assert _related(lives, NamedRelation(ME, "sibling_of", "Ben", "")) == 2
    assert _related(lives, lives) == 1
    turned = NamedRelation("Rome", "lives_in", "Anna", "live in Rome")
    assert _related(turned) == 0
    assert _related(turned, typed=False) == 1
    assert _related(NamedRelation("Anna", "located_in", "Rome", "")) == 0
    assert _related(NamedRelation("Mum", "lives_in", "Rome", ""), typed=False) == 0


@pytest.mark.parametrize(
    ("evidence", "n_right"), [("live in Rome", 1), ("works at Lidl", 0), ("lived in Rome", 0), ("", 0)]
)
def test_evidence_stands_in_the_text_at_the_right_place(evidence: str, n_right: int) -> None:
    """It shares a character with the annotator's; a paraphrase is none."""
    assert _related(NamedRelation("Anna", "lives_in", "Rome", evidence), with_evidence=True) == n_right


def test_relations_are_none_where_none_are_offered() -> None:
    """A reader that has no relations is not one that found none."""
    gold = entry(TEXT)
    assert score([gold], [trial()]).relations is None
    offered = score([gold], [trial(relations=())]).relations
    assert offered is not None
    assert offered.typed.n_found == 0


class Answers:
    """An instruct model that says what it is told to, or fails."""

    def __init__(self, *entities: FoundEntity, error: Exception | None = None, fails_after: int = 0) -> None:
        self.provenance = Provenance(ReaderKind.LLM, "0123", "4567")
        self._entities = entities
        self._error = error
        self._left = fails_after

    def read(self, text: str, reference_time: datetime, *, stopping: Callable[[], bool]) -> Reading:
        """The same to every text."""
        if self._error is not None and self._left == 0:
            raise self._error
        self._left -= 1
        return Reading(self._entities, self.provenance)


def test_a_trial_counts_what_verifying_drops() -> None:
    """Of four places two stand; of three entities one is made up, the one without any that does."""
    reader = Answers(
        FoundEntity("Anna", PERSON, (Span(0, 4, "Anna", 1.0), Span(5, 9, "Anna", 1.0))),
        FoundEntity("Ben", PERSON, (Span(14, 17, "Ben", 1.0),)),
        FoundEntity("Carla", PERSON, ()),
    )
    made = run_trial(TEXT, NOW, reader)
    assert [one.name for one in made.found] == ["Anna", "Ben"]
    assert (made.n_places, made.n_standing, made.n_named, made.n_made_up) == (4, 2, 3, 1)
    assert (made.n_answers, made.n_valid) == (1, 1)
    report = score([entry(TEXT)], [made])
    assert report.evidence.value == 0.5
    assert report.made_up.value == pytest.approx(1 / 3)


def test_an_invalid_answer_is_an_empty_reading() -> None:
    """Asked twice for a text in two pieces, answered once: nothing of the entry counts as found."""
    text = "Anna left early. Ben came late."
    reader = Answers(*entities(text, ("Anna", PERSON)), error=AnswerUnreadable(9, "is no JSON"), fails_after=1)
    made = run_trial(text, NOW, reader, limit=TextLimit(20, len))
    assert (made.found, made.n_answers, made.n_valid) == ((), 2, 1)
    answers = score([entry(text)], [made]).answers
    assert answers is not None
    assert answers.value == 0.5


def test_a_model_that_is_gone_is_no_invalid_answer() -> None:
    """Whoever runs the trial is told."""
    with pytest.raises(ReadingUnavailable):
        run_trial(TEXT, NOW, Answers(error=ReadingUnavailable("no server")))


def test_a_report_becomes_json() -> None:
    """Plain values under the fields' names, and no words of the text."""
    report = as_json(scored(("Ben", PERSON)))
    assert json.loads(json.dumps(report)) == report
    assert report["exact"]["types"]["Person"]["f1"]["value"] == 0.6667
    assert report["evidence"] == {"n": 1, "of": 1, "value": 1.0}
    assert report["relations"] is report["answers"] is None
    assert "Ben" not in json.dumps(report)

"""Scoring on tokens with tags."""

import gzip
import json
from pathlib import Path

import pytest

from backend.domain import EntityType, FoundEntity, Span
from backend.errors import GoldInvalid
from backend.graph.matching import Marked
from backend.graph.trial import Trial
from optimizers.conll import Sentence, names_of, on_tokens, read_corpus, score_corpus
from optimizers.sets import DATA

PERSON, PLACE, GROUP = EntityType.PERSON, EntityType.PLACE, EntityType.GROUP


def names(*tags: str) -> list[Marked]:
    """What the tags mark."""
    return list(names_of(["x"] * len(tags), tags))


def test_names_of_tags() -> None:
    """B begins, I goes on; an I of another type, or after O, begins; what is open at the end ends there."""
    assert names("B-PERSON", "I-PERSON", "O", "B-PLACE") == [Marked(0, 2, PERSON), Marked(3, 4, PLACE)]
    assert names("B-PERSON", "B-PERSON", "I-PLACE") == [Marked(0, 1, PERSON), Marked(1, 2, PERSON), Marked(2, 3, PLACE)]
    assert names("O", "I-GROUP", "I-GROUP") == [Marked(1, 3, GROUP)]
    assert names("O") == []


@pytest.mark.parametrize("tags", [("B-FOOD",), ("X-PERSON",), ("B",), ("O", "O-PERSON")])
def test_other_tags_are_refused(tags: tuple[str, ...]) -> None:
    """Scores on tags that nobody knows would be wrong without a word."""
    with pytest.raises(ValueError):
        names(*tags)


def test_places_become_tokens() -> None:
    """Whole tokens are kept; what cuts one is left out and counted; activities are nobody's tag."""
    tokens = ["@", "anna", "saw", "#Ben", "in", "New", "York"]
    text = " ".join(tokens)
    marked = [
        Marked(text.index(word), text.index(word) + len(word), type_)
        for word, type_ in (("anna", PERSON), ("saw", EntityType.ACTIVITY), ("Ben", PERSON), ("New York", PLACE))
    ]
    assert on_tokens(tokens, marked) == ([Marked(1, 2, PERSON), Marked(5, 7, PLACE)], 1)


def test_score_of_a_corpus() -> None:
    """One of two found is right, one of three to be found was: F1 0.4; without types 0.8."""
    sentence = Sentence(
        ("Anna", "in", "Rome", "Ben"), (Marked(0, 1, PERSON), Marked(2, 3, PLACE), Marked(3, 4, PERSON))
    )
    found = (
        FoundEntity("Anna", PERSON, (Span(0, 4, "Anna", 1.0),)),
        FoundEntity("Rome", GROUP, (Span(8, 12, "Rome", 1.0),)),
    )
    report = score_corpus([sentence], [Trial(found, 0.1, 0, 0, 2, 2, 2, 0)])
    assert report.exact.typed.f1.value == pytest.approx(0.4)
    assert report.exact.untyped.f1.value == pytest.approx(0.8)
    assert (report.n_sentences, report.n_tokens, report.n_cut) == (1, 4, 0)
    assert set(report.exact.types) == {PERSON, PLACE, GROUP}


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("wnut17", {"train": 3394, "dev": 1009, "test": 1287}),
        ("btc", {"train": 6338, "dev": 1001, "test": 2001}),
        ("ewt", {"dev": 2001, "test": 2077}),
        ("litbank", {"all": 8562}),
        ("gum", {"all": 5366}),
    ],
)
def test_shipped_corpora_are_whole(name: str, splits: dict[str, int]) -> None:
    """As many sentences as their README says, every one with tags that are understood."""
    path = DATA / "ner" / f"{name}.jsonl.gz"
    assert {split: len(read_corpus(path, split)) for split in splits} == splits


def test_the_test_split_of_wnut17_has_its_names() -> None:
    """429 persons, 150 places, 231 groups: what scores that others publish are of."""
    sentences = read_corpus(DATA / "ner" / "wnut17.jsonl.gz", "test")
    types = [name.type for sentence in sentences for name in sentence.names]
    assert [types.count(type_) for type_ in (PERSON, PLACE, GROUP)] == [429, 150, 231]


def refusal(path: Path) -> str:
    """Why the corpus is refused."""
    with pytest.raises(GoldInvalid) as caught:
        read_corpus(path, "test")
    return str(caught.value)


def test_bad_corpora_are_refused(tmp_path: Path) -> None:
    """No file, no gzip, a bad line, an empty split: each with its file."""
    assert "No such file" in refusal(tmp_path / "none.jsonl")
    packed = tmp_path / "bad.jsonl.gz"
    packed.write_bytes(b"no gzip")
    assert "no gzip file, or damaged" in refusal(packed)
    good = json.dumps({"split": "test", "tokens": ["a"], "tags": ["O"]}).encode()
    packed.write_bytes(gzip.compress(good * 50)[:-9])
    assert "no gzip file, or damaged" in refusal(packed)
    packed.write_bytes(gzip.compress(good)[:12] + b"\xff" * 20)
    assert "no gzip file, or damaged" in refusal(packed)
    for at in range(10, 40):  # a byte within the packed data, and every way in which zlib minds
        spoilt = bytearray(gzip.compress(good))
        spoilt[at % len(spoilt)] ^= 0xFF
        packed.write_bytes(spoilt)
        assert str(packed) in refusal(packed)
    plain = tmp_path / "plain.jsonl"
    missing = (b"{", b"7", b'{"split": "test"}', b'{"split": "test", "tokens": ["a"], "tags": []}')
    numbers = (b'{"split": "test", "tokens": ["a"], "tags": [1]}', b'{"split": "test", "tokens": [1], "tags": ["O"]}')
    for line in (*missing, *numbers):
        plain.write_bytes(good + b"\n" + line)
        assert f"{plain}:2: is no line of tokens" in refusal(plain)
    plain.write_bytes(good.replace(b"test", b"dev"))
    assert "no sentences in its split 'test'" in refusal(plain)

"""What the tagger is trained on: passages, corpora, variety, and what is made of a network's chances."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest

from backend.domain import Span
from optimizers.tagger.decoding import calibrate, predict, score
from optimizers.tagger.examples import (
    TYPES,
    Example,
    Marked,
    examples,
    parse_marked,
    read_corpus,
    read_names,
    read_passages,
    unmarked_examples,
)
from optimizers.tagger.variety import Variety

DATA = Path(__file__).parents[2] / "optimizers" / "data"
PASSAGES = DATA / "passages"
LINE = "Had to leave [[pottery class|ACT]] early.\\n[[Mum|PER]] and [[Dr. Okonkwo|PER]] at [[The Fox|PLC]]."


def pieces(word: str) -> tuple[int, ...]:
    """One token a word."""
    return (1000 + len(word),)


def test_marks_become_spans(tmp_path: Path) -> None:
    """A passage is its text, and where each mention stands in it."""
    path = tmp_path / "some.txt"
    path.write_text(LINE + "\n\nNothing here.\n", "utf-8")
    marked, plain = read_passages(path)
    assert marked.text == "Had to leave pottery class early.\nMum and Dr. Okonkwo at The Fox."
    assert [(marked.text[start:end], type_) for start, end, type_ in marked.spans] == [
        ("pottery class", "ACT"),
        ("Mum", "PER"),
        ("Dr. Okonkwo", "PER"),
        ("The Fox", "PLC"),
    ]
    assert plain.spans == ()


def test_malformed_mark_names_its_line(tmp_path: Path) -> None:
    """A type that is none is said with file and line."""
    path = tmp_path / "bad.txt"
    path.write_text("Fine.\n[[Mum|PERSON]] rang.\n", "utf-8")
    with pytest.raises(ValueError, match=r"bad\.txt:2"):
        list(read_passages(path))


def test_public_text_without_its_conventions() -> None:
    """Read as a journal is, a public text says nothing of its labels: the teachers do."""
    marked = Marked("Ana ran home", ((0, 3, "PER"),), is_whole=False)
    (signed,), (unsigned,) = examples([marked], pieces), unmarked_examples([marked], pieces)
    assert signed.window.is_public
    assert not unsigned.window.is_public
    assert signed.is_public
    assert unsigned.is_public
    assert signed.allowed == (0b10, 0b110000001, 0b110000001)
    assert unsigned.allowed == (0b111111111,) * 3


def test_labels() -> None:
    """Each word of a passage has one label: O, B- or I- of its type."""
    (example,) = examples([parse_marked(LINE.replace("\\n", "\n"))], pieces)
    labels = {one.word.text: allowed for one, allowed in zip(example.window.read, example.allowed, strict=True)}
    assert labels["leave"] == 1
    assert labels["pottery"] == 1 << 7
    assert labels["class"] == 1 << 8
    assert labels["Dr."] == 1 << 1
    assert labels["Okonkwo"] == 1 << 2


def test_corpora_say_nothing_about_activities(tmp_path: Path) -> None:
    """A word that a public corpus leaves unmarked may be O or part of an activity, and nothing else."""
    path = tmp_path / "btc.jsonl.gz"
    rows = [
        {"split": "train", "tokens": ["Yoga", "with", "Ann", "Lee"], "tags": ["O", "O", "B-PERSON", "I-PERSON"]},
        {"split": "test", "tokens": ["Secret"], "tags": ["O"]},
    ]
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    (example,) = examples(read_corpus(path, ("train",)), pieces)
    free = 1 | 1 << 7 | 1 << 8
    assert example.allowed == (free, free, 1 << 1, 1 << 2)


def test_nothing_is_learnt_from_the_handles_of_the_corpora() -> None:
    """A word after @ has no label in a public text; in a passage it has the one that it is marked with."""
    text, spans = "RT @ annlee: hi", ((5, 11, "PER"),)
    (public,) = examples([Marked(text, spans, is_whole=False)], pieces)
    (authored,) = examples([Marked(text, spans)], pieces)
    assert [one.word.text for one in public.window.read][2] == "annlee"
    assert public.allowed[2] == 0
    assert public.allowed[1] != 0
    assert authored.allowed[2] == 1 << 1


def test_names_of_the_lists_stand_in_for_others() -> None:
    """An exchanged name may come from the lists; a type without a list has the names of the texts alone."""
    texts = [parse_marked("[[Ann|PER]] in [[Rome|PLC]]."), parse_marked("[[Bo|PER]] in [[Oslo|PLC]].")]
    variety = Variety(texts, {"PER": ["Zelda"]})
    found = {
        after.text[start:end]
        for seed in range(60)
        for after in variety.varied(texts, random.Random(seed), exchanged=1.0, lower_case=0.0)
        for start, end, _ in after.spans
    }
    assert found == {"Ann", "Bo", "Zelda", "Rome", "Oslo"}


def test_the_lists_hold_names_and_nothing_else() -> None:
    """Hundreds of each type, each once, without blanks at its ends."""
    names = read_names(DATA / "names")
    assert set(names) == {"PER", "PLC", "GRP"}
    for listed in names.values():
        assert len(listed) == len(set(listed)) > 500
        assert all(name and name == name.strip() for name in listed)


def test_variety_keeps_spans_in_place() -> None:
    """With other names and without capitals every span still stands on its mention; the same name changes alike."""
    texts = [
        parse_marked("[[Ann|PER]] saw [[Ann|PER]] in [[Rome|PLC]] at [[lunch|ACT]]."),
        parse_marked("[[Bo Li|PER]] left [[Oslo|PLC]]."),
    ]
    variety = Variety(texts)
    changed = 0
    for seed in range(40):
        for before, after in zip(
            texts, variety.varied(texts, random.Random(seed), exchanged=1.0, lower_case=0.5), strict=True
        ):
            assert [type_ for *_, type_ in after.spans] == [type_ for *_, type_ in before.spans]
            surfaces = [after.text[start:end] for start, end, _ in after.spans]
            assert all(surface == surface.strip() and surface for surface in surfaces)
            changed += before.text.casefold() != after.text.casefold()
    assert changed > 20


def certain(found: list[Example]) -> list[np.ndarray]:
    """The chances of a network that knows the labels."""
    rows = []
    for example in found:
        chances = np.full((len(example.allowed), 9), 1e-6, dtype=np.float32)
        for row, bits in zip(chances, example.allowed, strict=True):
            row[bits.bit_length() - 1] = 1 - 8e-6
        rows.append(np.log(chances))
    return rows


def test_a_network_that_knows_the_labels_scores_one() -> None:
    """Nothing is lost between marks, windows, labels and spans; and a network that says nothing scores none."""
    text = parse_marked(LINE.replace("\\n", "\n"))
    found = predict([text], pieces, certain)
    assert score([text], found).typed == pytest.approx(1)
    assert score([text], [[]]) == (0, 0)


def test_most_of_the_shipped_passages_survive_words_and_windows() -> None:
    """Of the marks in the passages all but a few stand at the edges of words, so that the tagger can find them."""
    texts = [marked for path in sorted(PASSAGES.glob("*.txt")) for marked in read_passages(path)]
    assert len(texts) > 2_000
    assert score(texts, predict(texts, pieces, certain)).typed > 0.99


def test_calibration_is_the_share_that_is_right() -> None:
    """Of spans said with 0.9 half are right: calibrated they have about 0.5."""
    texts, found = [], []
    for number in range(200):
        texts.append(Marked("Ann", ((0, 3, "PER"),) if number % 2 else ()))
        found.append([("PER", Span(0, 3, "Ann", 0.85 + 0.1 * (number % 3) / 3))])
    slope, offset = calibrate(texts, found)[TYPES.index("PER")]
    logit = slope * np.log(0.9 / 0.1) + offset
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(0.5, abs=0.05)

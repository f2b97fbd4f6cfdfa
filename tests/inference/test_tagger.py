"""The shipped tagger on real sentences."""

import time
from pathlib import Path

import numpy as np
import pytest

from backend.domain import EntityType, ReaderKind, Span
from backend.errors import Stopped, WeightsMissing, WeightsUnusable
from backend.inference.loader import load_model
from backend.inference.tag_words import calibrated
from backend.inference.tagger import Tagger
from backend.settings import TAGGER_HEAD_PATH, TAGGER_PATH

PERSON, PLACE, GROUP = EntityType.PERSON, EntityType.PLACE, EntityType.GROUP


def names(tagger: Tagger, text: str) -> dict[str, EntityType]:
    """Name to type, with every span checked against the text."""
    entities = tagger.read(text).entities
    for entity in entities:
        for span in entity.spans:
            assert text[span.start : span.end] == span.surface
            assert 0 < span.confidence <= 1
    return {entity.name: entity.type for entity in entities}


def test_finds_people_places_and_groups(tagger: Tagger) -> None:
    """Plain names are found, typed and grouped with every place that names them."""
    text = "Had lunch with Sarah and Tom in Paris. Sarah told me about the Riverside Book Club."
    found = names(tagger, text)
    assert found["Sarah"] is PERSON
    assert found["Tom"] is PERSON
    assert found["Paris"] is PLACE
    assert found["Riverside Book Club"] is GROUP
    sarah = next(entity for entity in tagger.read(text).entities if entity.name == "Sarah")
    assert [span.start for span in sarah.spans] == [15, 39]


@pytest.mark.parametrize(
    ("confidence", "line", "expected"),
    [
        (0.75, (1.0, 0.0), 0.75),
        # The logit of 0.75 is log 3: its double has 9 in 10, and 1 less has 52 in 100.
        (0.75, (2.0, 0.0), 0.9),
        (0.75, (1.0, -1.0), 0.525),
        (1.0, (1.0, 0.0), 1.0),
        (0.3, (1.0, 0.0), None),
    ],
)
def test_confidence_is_the_share_that_is_right(
    confidence: float, line: tuple[float, float], expected: float | None
) -> None:
    """By the line of its type; what would hardly ever be right is nothing."""
    found = calibrated(Span(0, 3, "Ana", confidence), line)
    assert (found and found.confidence) == (expected and pytest.approx(expected, abs=1e-3))


def test_possessives_and_full_stops_stay_outside(tagger: Tagger) -> None:
    """`'s` and the end of the sentence are no part of a name, straight or curly."""
    for apostrophe in ("'", "’"):
        found = names(tagger, f"I drove to Maria{apostrophe}s garden with Tom. Then I called Sarah.")
        assert not any(name.endswith((".", "s'", f"{apostrophe}s")) for name in found)
        assert "Tom" in found
        assert "Sarah" in found


def test_title_stays_with_its_name(tagger: Tagger) -> None:
    """A title and the name after it are one person."""
    assert names(tagger, "In the afternoon I saw Dr. Okonkwo about my knee.").get("Dr. Okonkwo") is PERSON


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("🎉🎉 Met Sarah in town 🎉", "Sarah"),
        ("Tea with Zoe\u0308 Kravitz at noon.", "Zoe\u0308 Kravitz"),
        ("נפגשתי עם Sarah אתמול", "Sarah"),
        ("“Call Sarah,” said nobody.", "Sarah"),
        ("# Monday\n\n- lunch with Sarah\n- **run**", "Sarah"),
    ],
)
def test_offsets_hold_in_any_script(tagger: Tagger, text: str, name: str) -> None:
    """Spans count code points of the text exactly as written."""
    assert names(tagger, text).get(name) is PERSON


@pytest.mark.parametrize("text", ["", "   \n", "...!?", "’s", "\u0301\u0302", "a", "\u200b\u200b", "\ufffd" * 50])
def test_odd_texts_have_no_names(tagger: Tagger, text: str) -> None:
    """Nothing to find is no error."""
    assert tagger.read(text).entities == ()


def test_long_unbroken_text_is_windowed(tagger: Tagger) -> None:
    """A sentence without end and a word without end are read in windows; the last name is found too."""
    endless = "and then we went on and on " * 400 + "until Sarah came home"
    assert "Sarah" in names(tagger, endless)
    assert "Sarah" in names(tagger, "x" * 20_000 + " with Sarah and Tom.")


def test_reading_leaves_nothing_behind(tagger: Tagger) -> None:
    """A text is read the same, to the last digit, whatever was read before it."""
    text = "On Sunday we walked along the river with Sarah and her brother to the Lighthouse Cafe for cake and a talk."
    first = tagger.read(text).entities
    tagger.read("Tom and Ann drove to Leeds for the derby. " * 40)
    assert tagger.read(text).entities == first


def test_stops_between_windows(tagger: Tagger) -> None:
    """An entry of a million characters is left within a second of being told to."""
    started_s = time.monotonic()
    with pytest.raises(Stopped):
        tagger.read("We met Sarah again. " * 50_000, stopping=lambda: time.monotonic() - started_s > 0.2)
    assert time.monotonic() - started_s < 1.5


def test_provenance_names_the_weights(tagger: Tagger) -> None:
    """A reading tells which weights made it."""
    provenance = tagger.read("Sarah").provenance
    assert provenance.reader is ReaderKind.TAGGER
    assert len(provenance.weights) == 16
    assert provenance.prompt == ""


def test_head_must_fit(tmp_path: Path) -> None:
    """A head that is missing, damaged or of another encoder is refused before anything is read."""
    model = load_model(TAGGER_PATH, kind="tagger", n_ctx_tokens=512, n_threads=1)
    with pytest.raises(WeightsMissing):
        Tagger(model, tmp_path / "none.npz")
    shipped = TAGGER_HEAD_PATH.read_bytes()
    one_byte = shipped[:5000] + bytes([shipped[5000] ^ 0xFF]) + shipped[5001:]
    for damaged in (b"", b"no zip", shipped[:-9], shipped[:1000], one_byte):
        (tmp_path / "bad.npz").write_bytes(damaged)
        with pytest.raises(WeightsUnusable, match="no tagger head"):
            Tagger(model, tmp_path / "bad.npz")
    blank = np.zeros((4, 10), dtype=np.float32)
    layers = {"hidden_weight": blank, "hidden_bias": blank[0], "out_weight": blank, "out_bias": blank[0]}
    np.savez(tmp_path / "other.npz", **layers, calibration=blank)
    with np.load(TAGGER_HEAD_PATH) as file:
        np.savez(tmp_path / "part.npz", **{**file, "calibration": file["calibration"][:3]})
    for name in ("other.npz", "part.npz"):
        with pytest.raises(WeightsUnusable, match="another encoder"):
            Tagger(model, tmp_path / name)
    model.close()

"""The model card says what was measured, and stands in the repository as it would be written."""

import json

from backend.settings import CHECKOUT
from optimizers.tagger.card import card

RESULTS = CHECKOUT / "optimizers" / "results"


def test_the_card_is_what_was_measured() -> None:
    """Writing it again changes nothing: nobody has mended its figures by hand."""
    assert (CHECKOUT / "models" / "charlie-tagger-v1.md").read_text("utf-8") == card()


def test_the_readme_quotes_the_results() -> None:
    """The figures in the README are those of the last evaluation."""
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    exact = json.loads((RESULTS / "tagger-reporting.json").read_text("utf-8"))["scores"]["exact"]
    for score in (exact["typed"], exact["untyped"], *exact["types"].values()):
        assert f"{score['f1']['value']:.3f}" in readme


def test_the_results_are_of_the_shipped_weights() -> None:
    """Reporting, tuning and WNUT17 were scored with the same weights, and the targets are reached."""
    found = [json.loads((RESULTS / f"tagger-{name}.json").read_text("utf-8")) for name in ("reporting", "tuning")]
    assert len({one["reader"]["weights"] for one in found}) == 1
    exact = found[0]["scores"]["exact"]
    assert exact["typed"]["f1"]["value"] >= 0.80
    assert exact["untyped"]["f1"]["value"] >= 0.85

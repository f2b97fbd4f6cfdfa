"""Writes the tagger's model card: `python -m optimizers.tagger.card`, after training and `make eval`."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from backend.inference.tag_words import LEAST_CONFIDENCE

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = "charlie-tagger-v1"
_RESULTS: Final = ROOT / "optimizers" / "results"
_SETS: Final = {
    "reporting": "40 reporting entries, never looked at while tuning",
    "tuning": "80 tuning entries, used to choose and to calibrate",
}


def main() -> int:
    """Write the card; 1 with a line that says what is missing."""
    try:
        text = card()
    except FileNotFoundError as error:
        print(f"card: {error.filename} is missing: train the tagger, then 'make eval'", file=sys.stderr)
        return 1
    (ROOT / "models" / f"{NAME}.md").write_text(text, "utf-8")
    return 0


def card() -> str:
    """The card, from what training and evaluation wrote; nothing in it is typed by hand but the prose."""
    made = json.loads((ROOT / "models" / f"{NAME}.json").read_text("utf-8"))
    results = {name: _result(name) for name in _SETS}
    wnut = _result("wnut17")
    prose = (Path(__file__).parent / "card.md").read_text("utf-8")
    attempts = (Path(__file__).parent / "attempts.md").read_text("utf-8")
    return prose.format(
        name=NAME,
        scores="\n".join([*_rows(results), _corpus_row(wnut)]),
        types=_type_rows(results["reporting"]),
        reliability=_reliability_rows(results["reporting"]),
        error=f"{results['reporting']['scores']['reliability']['error']:.3f}",
        least=LEAST_CONFIDENCE,
        speed=_speed(results["tuning"]),
        plan=_plan(made),
        attempts=attempts.strip(),
    )


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_RESULTS / f"tagger-{name}.json").read_text("utf-8"))
    return found


def _score(score: dict[str, Any]) -> str:
    f1 = score["f1"]
    return f"{f1['value']:.3f} ({f1['low']:.3f} to {f1['high']:.3f})"


def _rows(results: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"| {words} | {_score(results[name]['scores']['exact']['typed'])} "
        f"| {_score(results[name]['scores']['exact']['untyped'])} |"
        for name, words in _SETS.items()
    ]


def _corpus_row(wnut: dict[str, Any]) -> str:
    exact = wnut["scores"]["exact"]
    words = "WNUT17 test, three types, read as a journal is"
    return f"| {words} | {_score(exact['typed'])} | {_score(exact['untyped'])} |"


def _type_rows(result: dict[str, Any]) -> str:
    return "\n".join(
        f"| {type_} | {score['precision']['value']:.3f} | {score['recall']['value']:.3f} "
        f"| {score['f1']['value']:.3f} | {score['n_gold']} |"
        for type_, score in result["scores"]["exact"]["types"].items()
    )


def _reliability_rows(result: dict[str, Any]) -> str:
    return "\n".join(
        f"| {one['low']:.2f} to {one['high']:.2f} | {one['n']} | {one['confidence']:.3f} | {one['right']:.3f} |"
        for one in result["scores"]["reliability"]["bins"]
    )


def _speed(result: dict[str, Any]) -> str:
    cost, machine = result["cost"], result["machine"]
    return f"{cost['words_s']:,.0f} words a second on {machine['cores']} cores ({machine['system']})"


def _plan(made: dict[str, Any]) -> str:
    plan = ", ".join(f"{name} {value:g}" for name, value in made["plan"].items() if not isinstance(value, bool))
    minutes = f"{made['minutes_teachers']:.0f} minutes for the teachers, {made['minutes']:.0f} for the one that ships"
    return f"{plan}; {minutes}, two cores, torch {made['torch']}"


if __name__ == "__main__":
    sys.exit(main())

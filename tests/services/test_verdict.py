"""When a model is good enough, and how that is said."""

from dataclasses import replace

import pytest

from backend.services.verdict import (
    BETTER_BY,
    LEAST_F1,
    LEAST_VALID,
    TAGGER,
    Figures,
    SelfTest,
    Verdict,
    duration,
    judge,
)

SHIPPED = Figures(0.7, 0.6, 0.8, 0.75, None, 0.05, 0.1, 60.0, 1)
LLM = Figures(0.8, 0.7, 0.9, 0.85, 1.0, 12.0, 4.0, 2900.0, 4)


@pytest.mark.parametrize(
    ("model", "verdict"),
    [
        (LLM, Verdict.GOOD),
        (replace(LLM, f1=SHIPPED.f1 + BETTER_BY + 0.001), Verdict.GOOD),
        (replace(LLM, f1=SHIPPED.f1 + BETTER_BY - 0.001), Verdict.NO_BETTER),
        (replace(LLM, f1=LEAST_F1 - 0.001), Verdict.POOR),
        (replace(LLM, valid=LEAST_VALID - 0.001), Verdict.UNRELIABLE),
        (replace(LLM, valid=None), Verdict.GOOD),
    ],
)
def test_what_counts(model: Figures, verdict: Verdict) -> None:
    """Usable answers first, then whether the names can be used at all, then whether the tagger does as well."""
    assert judge(model, SHIPPED, is_tagger=False) is verdict


def test_the_tagger_is_not_asked_to_beat_itself() -> None:
    """But it has to be of use."""
    assert judge(SHIPPED, SHIPPED, is_tagger=True) is Verdict.GOOD
    assert judge(replace(SHIPPED, f1=0.4), SHIPPED, is_tagger=True) is Verdict.POOR


def test_the_words_hold_all_that_was_measured() -> None:
    """The verdict first, how sure a dozen entries can be, the cost of the whole journal last."""
    told = SelfTest("qwen", 12, LLM, SHIPPED, Verdict.NO_BETTER, 1204, 1204 * 12.0).words()
    assert told[0].startswith("No better than the tagger: ")
    assert "F1 0.70" in told[0]
    assert "50 ms" in told[0]
    assert "12 entries are few: it may as well be 0.70 or 0.90" in told[1]
    assert told[2] == "100% of its answers could be used."
    assert told[3] == "12.0 s an entry, 4 at a time, 2,900 MB of memory, ready after 4.0 s."
    assert told[4] == "Reading your whole journal (1,204 entries) would take about 4.0 hours."


@pytest.mark.parametrize(
    ("name", "verdict", "advice"),
    [
        ("qwen", Verdict.NO_BETTER, "Keep the tagger."),
        ("qwen", Verdict.POOR, "Keep the tagger, or choose another model."),
        ("qwen", Verdict.UNRELIABLE, "Choose another model."),
        (TAGGER, Verdict.POOR, "Choose another model."),
    ],
)
def test_a_verdict_that_is_not_good_says_what_to_do(name: str, verdict: Verdict, advice: str) -> None:
    """At the end of the first sentence."""
    assert SelfTest(name, 12, LLM, SHIPPED, verdict, 1, 1.0).words()[0].endswith(f". {advice}")


def test_the_words_leave_out_what_nobody_knows() -> None:
    """A tagger writes no answers; the memory of a server is its own."""
    told = SelfTest(TAGGER, 12, SHIPPED, SHIPPED, Verdict.GOOD, 1, 0.05).words()
    assert not any("answers" in line for line in told)
    assert "comes with Charlie" in told[0]
    assert "(1 entry)" in told[-1]
    assert "memory" not in SelfTest("m", 12, replace(LLM, memory_mb=None), SHIPPED, Verdict.GOOD, 1, 1).words()[3]


@pytest.mark.parametrize(("seconds", "words"), [(0, "1 s"), (89, "89 s"), (600, "10 minutes"), (5400, "1.5 hours")])
def test_durations_as_a_person_says_them(seconds: float, words: str) -> None:
    """Never 0 s, never thousands of seconds."""
    assert duration(seconds) == words

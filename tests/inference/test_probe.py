"""Trying a file in a child first."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from backend.errors import ReadingUnavailable, Stopped, WeightsUnusable
from backend.inference.loader import LoadSettings
from backend.inference.probe import Prober

WANTED = LoadSettings("llm", 512, 1, n_gpu_layers=0, use_extra_bufts=True)


def child(code: str) -> tuple[str, ...]:
    """A child that runs `code` in place of the probe."""
    return (sys.executable, "-c", code)


def test_good_file_is_tried_once(f16_path: Path, tmp_path: Path) -> None:
    """What passed is remembered: the second time no child is started."""
    settings = Prober(tmp_path).safe_settings(f16_path, WANTED)
    assert settings.kind == "llm"
    unreachable = Prober(tmp_path, command=child("raise SystemExit(9)"))
    assert unreachable.safe_settings(f16_path, WANTED) == settings


def test_crash_falls_back_to_safe_settings(f16_path: Path, tmp_path: Path) -> None:
    """A crash with repacked weights ends in plain ones; the parent lives."""
    code = "import os, sys; os.abort() if '\"use_extra_bufts\": true' in sys.argv[2] else None"
    settings = Prober(tmp_path, command=child(code)).safe_settings(f16_path, WANTED)
    assert settings.use_extra_bufts is False


def test_what_went_wrong_is_remembered(f16_path: Path, tmp_path: Path) -> None:
    """The signal that each try ended with stands beside the settings that live, and a clean pass has no reason."""
    wanted = replace(WANTED, n_gpu_layers=-1)
    code = (
        "import json, os, signal, sys; wanted = json.loads(sys.argv[2])\n"
        "wanted['use_extra_bufts'] and os.kill(os.getpid(), signal.SIGSEGV)\n"
        "wanted['n_gpu_layers'] and os.abort()"
    )
    prober = Prober(tmp_path, command=child(code))
    safe = prober.safe_settings(f16_path, wanted)
    assert (safe.use_extra_bufts, safe.n_gpu_layers) == (False, 0)
    why = Prober(tmp_path).why_safer(f16_path, wanted)
    assert "SIGSEGV" in why
    assert "SIGABRT" in why
    assert prober.safe_settings(f16_path, WANTED)
    clean = Prober(tmp_path / "clean", command=child("pass"))
    clean.safe_settings(f16_path, WANTED)
    assert clean.why_safer(f16_path, WANTED) == ""


def test_as_many_texts_are_tried_as_are_wanted(f16_path: Path, tmp_path: Path) -> None:
    """More at once than were tried are tried anew, fewer are not; the real child decodes them together."""
    note = tmp_path / "tried"
    code = f"import json, sys; open({str(note)!r}, 'a').write(str(json.loads(sys.argv[2])['n_sequences']) + ' ')"
    prober = Prober(tmp_path, command=child(code))
    for n_sequences in (2, 1, 2, 4, 3):
        wanted = replace(WANTED, n_sequences=n_sequences)
        assert prober.safe_settings(f16_path, wanted).n_sequences == n_sequences
    assert note.read_text().split() == ["2", "4"]
    assert Prober(tmp_path / "real").safe_settings(f16_path, replace(WANTED, n_sequences=3)).n_sequences == 3


def test_what_fails_for_many_may_work_for_fewer(f16_path: Path, tmp_path: Path) -> None:
    """A file that was refused with four texts at once is tried with two, and not again with four or more."""
    note = tmp_path / "tried"
    code = (
        "import json, os, sys; n = json.loads(sys.argv[2])['n_sequences']\n"
        f"open({str(note)!r}, 'a').write(str(n) + ' ')\n"
        "n < 4 or os.abort()"
    )
    prober, wanted = Prober(tmp_path, command=child(code)), replace(WANTED, use_extra_bufts=False)
    for n_sequences in (4, 4, 8):
        with pytest.raises(WeightsUnusable):
            prober.safe_settings(f16_path, replace(wanted, n_sequences=n_sequences))
    assert prober.safe_settings(f16_path, replace(wanted, n_sequences=2)).n_sequences == 2
    assert note.read_text().split() == ["4", "2"]


def test_what_another_learnt_meanwhile_stays(f16_path: Path, q8_path: Path, tmp_path: Path) -> None:
    """A try takes minutes: what is written at its end does not undo what was written during it."""
    aside = Prober(tmp_path / "aside")
    aside.be_careful(q8_path, WANTED)
    note, found = tmp_path / "aside" / "probes.json", tmp_path / "probes.json"
    code = f"import shutil; shutil.copy({str(note)!r}, {str(found)!r})"
    prober = Prober(tmp_path, command=child(code))
    prober.safe_settings(f16_path, WANTED)
    assert "while it read" in prober.why_safer(q8_path, WANTED)
    assert prober.why_safer(f16_path, WANTED) == ""


def test_file_that_always_crashes_is_refused_and_remembered(f16_path: Path, tmp_path: Path) -> None:
    """No settings help: refused with the reason, and the next time at once."""
    prober = Prober(tmp_path, command=child("import os; os.abort()"))
    for _ in range(2):
        with pytest.raises(WeightsUnusable, match="crashed when it was tried"):
            prober.safe_settings(f16_path, WANTED)
        prober = Prober(tmp_path, command=child("pass"))


def test_a_kill_is_not_remembered(f16_path: Path, tmp_path: Path) -> None:
    """The system ends a child when memory is short; another time there may be more."""
    killed = Prober(tmp_path, command=child("import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(WeightsUnusable, match="crashed"):
        killed.safe_settings(f16_path, WANTED)
    assert Prober(tmp_path, command=child("pass")).safe_settings(f16_path, WANTED) == WANTED


def test_changed_file_is_tried_again(f16_path: Path, tmp_path: Path) -> None:
    """Another file under the same name is another file."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF one")
    with pytest.raises(WeightsUnusable):
        Prober(tmp_path, command=child("raise SystemExit(9)")).safe_settings(path, WANTED)
    path.write_bytes(b"GGUF two")
    assert Prober(tmp_path, command=child("pass")).safe_settings(path, WANTED) == WANTED


def test_refusal_in_the_child_keeps_its_words(tmp_path: Path) -> None:
    """The real child refuses what is no model and says why."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"no model at all")
    with pytest.raises(WeightsUnusable, match="not a GGUF file"):
        Prober(tmp_path).safe_settings(path, WANTED)


def test_child_that_hangs_is_ended(f16_path: Path, tmp_path: Path) -> None:
    """After its time, or when told to stop, the child is gone; being stopped is not remembered."""
    sleeper = child("import time; time.sleep(60)")
    started_s = time.monotonic()
    with pytest.raises(Stopped):
        Prober(tmp_path, command=sleeper).safe_settings(f16_path, WANTED, stopping=lambda: True)
    with pytest.raises(WeightsUnusable, match="did not answer"):
        Prober(tmp_path, command=sleeper, timeout_s=0.2).safe_settings(f16_path, WANTED)
    assert time.monotonic() - started_s < 5


def test_child_is_silent(f16_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing that the child prints reaches the terminal."""
    noisy = child("import os; os.write(1, b'out'); os.write(2, b'err')")
    Prober(tmp_path, command=noisy).safe_settings(f16_path, WANTED)
    assert capfd.readouterr() == ("", "")


def test_a_crash_in_spite_of_the_probe_is_learnt_from(f16_path: Path, tmp_path: Path) -> None:
    """After it only the safest settings are used, and no child is asked again."""
    wanted = LoadSettings("llm", 256, 1, n_gpu_layers=-1, use_extra_bufts=True)
    prober = Prober(tmp_path, command=("/nonexistent",))
    prober.be_careful(f16_path, wanted)
    safe = prober.safe_settings(f16_path, wanted)
    assert (safe.use_extra_bufts, safe.n_gpu_layers) == (False, 0)
    assert "while it read" in prober.why_safer(f16_path, wanted)


def test_without_a_child_it_is_said_what_to_do(f16_path: Path, tmp_path: Path) -> None:
    """That no process can be started says nothing about the file: nothing is remembered."""
    prober = Prober(tmp_path, command=("/nonexistent/python",))
    with pytest.raises(ReadingUnavailable, match="close other programs"):
        prober.safe_settings(f16_path, WANTED)
    assert not (tmp_path / "probes.json").exists()

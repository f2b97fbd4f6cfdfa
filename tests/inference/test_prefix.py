"""Instructions that are kept on disk: found again, never trusted, never in the way."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend.inference.chat import ChatMessage, ChatTemplate
from backend.inference.engine import Engine
from backend.inference.loader import LoadedModel, load_model
from backend.inference.prefix import PrefixStore
from backend.inference.sequences import Completion
from backend.settings import CHECKOUT
from tests.gguf_factory import write_random_llm

SYSTEM = ChatMessage("system", "You read journals, slowly and well. " * 12)


@contextmanager
def loaded(path: Path, **options: int) -> Iterator[LoadedModel]:
    """A model for a while."""
    model = load_model(path, kind="llm", n_ctx_tokens=1024, n_threads=1, **options)
    try:
        yield model
    finally:
        model.close()


def ask(engine: Engine, text: str = "Sarah came.", system: ChatMessage = SYSTEM) -> Completion:
    """An answer behind the instructions."""
    schema = {"type": "string", "maxLength": 20}
    return engine.complete([system, ChatMessage("user", text)], schema=schema, max_tokens=60)


def ask_cold(path: Path, folder: Path) -> Completion:
    """An answer of a model that has just been loaded."""
    with loaded(path) as model:
        return ask(Engine(model, prefix_dir=folder))


def files(folder: Path) -> list[Path]:
    """What is kept."""
    return sorted(folder.glob("*.prefix"))


def test_cold_load_takes_it_from_disk(f16_path: Path, tmp_path: Path) -> None:
    """The second load does not read the instructions again, and answers the same; the file is its owner's alone."""
    first, second = ask_cold(f16_path, tmp_path), ask_cold(f16_path, tmp_path)
    assert first.n_reused == 0
    assert second.n_reused > 80
    assert second.text == first.text
    (kept,) = files(tmp_path)
    assert kept.stat().st_mode & 0o777 == 0o600


def flip(path: Path) -> None:
    """One bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    """The second half is missing."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Nothing is left."""
    path.write_bytes(b"")


def other(path: Path) -> None:
    """Something else by this name."""
    path.write_bytes(b"not what you think " * 1000)


@pytest.mark.parametrize("damage", [flip, cut, empty, other])
def test_damaged_file_is_made_again(f16_path: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Llama.cpp never sees what was damaged: the instructions are read again, and the file replaced."""
    first = ask_cold(f16_path, tmp_path)
    (kept,) = files(tmp_path)
    whole = kept.read_bytes()
    damage(kept)
    again = ask_cold(f16_path, tmp_path)
    assert (again.n_reused, again.text) == (0, first.text)
    assert kept.read_bytes() == whole


def test_other_weights_have_their_own(f16_path: Path, tmp_path: Path) -> None:
    """What one model read is never given to another."""
    ask_cold(f16_path, tmp_path / "kept")
    stranger = write_random_llm(tmp_path / "stranger.gguf", seed=3)
    assert ask_cold(stranger, tmp_path / "kept").n_reused == 0
    assert len(files(tmp_path / "kept")) == 2


def test_least_recently_used_goes(f16_path: Path, tmp_path: Path) -> None:
    """Beyond the room there is, the file that was used longest ago is removed."""
    with loaded(f16_path) as model:
        engine = Engine(model, prefix_dir=tmp_path)
        ask(engine)
        (first,) = files(tmp_path)
        os.utime(first, (1, 1))
        ask(engine, system=ChatMessage("system", "Quite another thing to do. " * 12))
        second = next(path for path in files(tmp_path) if path != first)
        store = PrefixStore(model, tmp_path, most_bytes=second.stat().st_size + 1000)
        engine.close()
        store.save([1, 2, 3], 7)
    assert not first.exists()
    assert second.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_folder_that_cannot_be_used(f16_path: Path, tmp_path: Path, is_there: bool) -> None:
    """Where nothing can be kept, answers come all the same."""
    folder = tmp_path / "file"
    folder.write_text("in the way")
    assert ask_cold(f16_path, folder if is_there else folder / "below").n_generated


# Files of this process may not grow beyond a limit: what a full disk says, said by the kernel.
FULL_DISK = """
import json, resource, sys
from pathlib import Path
from tests.inference.test_prefix import ask, loaded
from backend.inference.engine import Engine
path, folder, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
with loaded(path) as model:
    engine = Engine(model, prefix_dir=folder)
    answers = [ask(engine, text) for text in ("Sarah came.", "Tom came.")]
    # There is room again: other instructions are kept.
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    left = sorted(found.name for found in folder.iterdir()) if folder.exists() else []
    from backend.inference.chat import ChatMessage
    ask(engine, system=ChatMessage("system", "Quite another thing to do. " * 12))
print(json.dumps([[answer.text for answer in answers], [answer.n_reused for answer in answers], left]))
"""


@pytest.mark.parametrize(("limit", "left"), [(0, []), (4096, ["weights.json"])])
def test_full_disk(f16_path: Path, tmp_path: Path, limit: int, left: list[str]) -> None:
    """Reading goes on as if nothing were kept, nothing half-written stays, and once there is room it is used."""
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(f16_path), str(tmp_path / "kept"), str(limit)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=True,
        timeout=60,
    )
    texts, n_reused, found = json.loads(child.stdout)
    assert found == left
    assert texts[0] == ask_cold(f16_path, tmp_path / "other").text
    # The second one still found them in memory.
    assert (n_reused[0], n_reused[1] > 80) == (0, True)
    assert len(files(tmp_path / "kept")) == 1


def test_several_instructions_stay(f16_path: Path) -> None:
    """Two sets of instructions in turn are both read once; a fifth drives out the one used longest ago."""
    systems = [ChatMessage("system", f"Task {number}: read, and say. " * 12) for number in range(5)]
    with loaded(f16_path, n_sequences=2) as model:
        engine = Engine(model)
        assert [ask(engine, system=system).n_reused > 0 for system in systems[:4] * 2] == [False] * 4 + [True] * 4
        assert ask(engine, system=systems[4]).n_reused == 0
        assert ask(engine, system=systems[3]).n_reused > 0
        assert ask(engine, system=systems[0]).n_reused == 0


def test_read_once_for_all_who_wait(f16_path: Path) -> None:
    """Eight requests that arrive together read their instructions once."""
    with loaded(f16_path, n_sequences=4) as model:
        engine = Engine(model)
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda number: ask(engine, f"Entry {number}."), range(8)))
        totals = engine.totals
    assert sorted(answer.n_reused > 80 for answer in done) == [False] + [True] * 7
    assert totals.tokens_reused == sum(answer.n_reused for answer in done)
    assert totals.tokens_prompt == sum(answer.n_prompt for answer in done)
    assert totals.tokens_generated == sum(answer.n_generated for answer in done)


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ raise_exception('no system') }}",
        "{% for m in messages %}<|im_start|>{{ m.content | trim }}<|im_end|>{% endfor %}",
        "{{ messages[-1].content }}{{ messages[0].content }}",
    ],
)
def test_beginning_holds_for_any_template(tmp_path: Path, template: str | None) -> None:
    """Whatever a template does, what is taken for fixed is how every prompt begins."""
    path = write_random_llm(tmp_path / "odd.gguf", chat_template=template)
    with loaded(path) as model:
        chat = ChatTemplate(model)
        for text in ("Sarah came.", "0", "", "<|im_end|>", "?"):
            messages = [SYSTEM, ChatMessage("user", text)]
            tokens, fixed = chat.tokens(messages), chat.fixed_tokens(messages)
            n_same = next(
                (i for i, pair in enumerate(zip(tokens, fixed, strict=False)) if pair[0] != pair[1]), len(fixed)
            )
            assert n_same >= len(fixed) - 1
        engine = Engine(model)
        assert ask(engine, "One.").text
        assert ask(engine, "Two.").text

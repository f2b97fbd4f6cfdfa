"""The catalogue: what ships is sound, and what is malformed is named with its line."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.errors import ModelUnknown, SettingsError
from backend.inference.catalog import (
    CATALOG_PATH,
    Pin,
    Shape,
    find_entry,
    nearest,
    read_catalog,
    read_pins,
    write_pin,
)
from backend.inference.gguf_header import read_header
from backend.inference.memory import need_bytes
from tests.gguf_factory import write_random_llm

SHIPPED = CATALOG_PATH.read_text("utf-8")
PIN = Pin("a-model", "someone/something", "0" * 40, 7, "f" * 64)


def test_shipped_catalogue_has_what_was_promised() -> None:
    """The default and its smaller kin, the three other families, and models of the other kinds are there."""
    entries = read_catalog()
    assert [entry.name for entry in entries if entry.default] == ["qwen3-4b-instruct-2507"]
    assert {"qwen3-0.6b", "qwen3-1.7b", "llama-3.1-8b-instruct"} <= {entry.name for entry in entries}
    assert {"Qwen3", "Llama 3.1", "Gemma 3", "Phi 4"} == {entry.family for entry in entries if entry.kind == "llm"}
    assert {entry.kind for entry in entries} == {"llm", "embedding", "reranker"}


@pytest.mark.parametrize("writes_answers", [True, False])
def test_need_is_known_before_the_file_is_here(tmp_path: Path, writes_answers: bool) -> None:
    """From its shape alone, an entry's need is worked out to the byte as from the header of the file itself."""
    path = write_random_llm(tmp_path / "model.gguf", n_layers=3, n_embd=96, n_heads=6, n_heads_kv=2, n_ff=160)
    header = read_header(path)
    shape = Shape(3, 96, 160, 6, 2, 16, header.n_vocab)
    entry = replace(read_catalog()[0], size_bytes=header.size_bytes, shape=shape)
    needs = [
        need_bytes(known, n_ctx_tokens=4096, n_batch=512, writes_answers=writes_answers)
        for known in (header, entry.header)
    ]
    assert needs[0] == needs[1]


@pytest.mark.parametrize(
    ("was", "becomes", "key", "said"),
    [
        ('kind = "llm"', 'kind = "large"', "kind", "'llm'"),
        ("context = 262144", 'context = "262144"', "context", "integer"),
        ("size_bytes = 2_497_281_120", "size_bytes = 0", "size_bytes", "greater than 0"),
        ("size_bytes = 2_497_281_120", "size_bytes = 1.5", "size_bytes", "integer"),
        ("layers = 36", "layer = 36", "shape.layers", "required"),
        ("vocabulary = 151936", "vocabulary = -1", "shape.vocabulary", "greater than 0"),
        ('file = "Qwen3-4B', 'file = "../Qwen3-4B', "file", "match pattern"),
        ('repository = "unsloth/', 'repository = "', "repository", "match pattern"),
        ('name = "qwen3-4b', 'name = "Qwen 4b', "name", "match pattern"),
        ("default = true", "default = 1", "default", "boolean"),
        ("default = true", "default = true\ncolour = 'red'", "colour", "Unexpected"),
    ],
)
def test_malformed_entry_is_named_with_its_line(tmp_path: Path, was: str, becomes: str, key: str, said: str) -> None:
    """File, line, key and what is wrong stand in the message; the line is the one that was changed."""
    text = SHIPPED.replace(was, becomes, 1)
    path = tmp_path / "catalog.toml"
    path.write_text(text, "utf-8")
    last = becomes.splitlines()[-1]
    line = next(n for n, line in enumerate(text.splitlines(), 1) if last in line)
    with pytest.raises(SettingsError) as raised:
        read_catalog(path)
    assert str(raised.value).startswith(f"{key} (from {path}, line {line}): ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_key_is_named_with_the_line_of_its_table(tmp_path: Path) -> None:
    """What is not written has no line: that of its [[model]] is told."""
    path = tmp_path / "catalog.toml"
    path.write_text(SHIPPED.replace('licence = "MIT"\n', "", 1), "utf-8")
    heads = [n for n, line in enumerate(SHIPPED.splitlines(), 1) if line == "[[model]]"]
    with pytest.raises(SettingsError, match=rf"licence .*line {heads[6]}\)"):
        read_catalog(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]\n", "line 1"),
        ('[[model]]\nname = "a\n', "line 2"),
        ("", "[[model]] tables"),
        ("model = 3\n", "[[model]] tables"),
        ("model = [3]\n", "model"),
        ("\n[models]\n", "models (from"),
    ],
)
def test_file_that_is_no_catalogue(tmp_path: Path, text: str, said: str) -> None:
    """No TOML, or none of ours: the file is named, and the line where there is one."""
    path = tmp_path / "catalog.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as raised:
        read_catalog(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_unreadable_catalogue(tmp_path: Path) -> None:
    """A file that is missing or no text is named too."""
    with pytest.raises(SettingsError, match="No such file"):
        read_catalog(tmp_path / "catalog.toml")
    (tmp_path / "catalog.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="utf-8"):
        read_catalog(tmp_path / "catalog.toml")


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ('"qwen3-0.6b"', '"qwen3-1.7b"', "two models of qwen3-1.7b"),
        ('"Qwen3-0.6B-Q8_0.gguf"', '"Qwen3-1.7B-Q4_K_M.gguf"', "two models of qwen3-1.7b-q4_k_m.gguf"),
        ("default = true", "", "exactly one model"),
        ('quick as the 4B, misses more"', 'quick as the 4B"\ndefault = true', "exactly one model"),
    ],
)
def test_entries_at_odds(tmp_path: Path, was: str, becomes: str, said: str) -> None:
    """Two of a name or a file would overwrite each other, and there is one default."""
    path = tmp_path / "catalog.toml"
    assert was in SHIPPED
    path.write_text(SHIPPED.replace(was, becomes, 1), "utf-8")
    with pytest.raises(SettingsError, match=said):
        read_catalog(path)


def test_unknown_name_comes_with_the_nearest() -> None:
    """A mistyped name offers what could have been meant; one like nothing offers the list."""
    entries = read_catalog()
    assert find_entry(entries, "Qwen3-0.6B").name == "qwen3-0.6b"
    with pytest.raises(ModelUnknown, match=r"did you mean qwen3-0\.6b"):
        find_entry(entries, "qwen3-06b")
    with pytest.raises(ModelUnknown, match="charlie models list"):
        find_entry(entries, "xyzzy")
    assert nearest(["bge-m3", "qwen3-0.6b"], "bge") == ("bge-m3",)


def test_pins_are_kept_by_file(tmp_path: Path) -> None:
    """What was checked is remembered for each file, and can be forgotten for one."""
    write_pin(tmp_path, "a.gguf", PIN)
    write_pin(tmp_path, "b.gguf", PIN)
    write_pin(tmp_path, "a.gguf", None)
    assert read_pins(tmp_path) == {"b.gguf": PIN}


@pytest.mark.parametrize("text", ["", "[]", '{"a.gguf": 3}', '{"a.gguf": {"name": "x"}}'])
def test_damaged_pins_vouch_for_nothing(tmp_path: Path, text: str) -> None:
    """A damaged memory is no error: the file is then one that nobody vouches for."""
    (tmp_path / "installed.json").write_text(text)
    assert read_pins(tmp_path) == {}

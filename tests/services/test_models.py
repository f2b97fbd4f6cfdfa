"""Models as the person deals with them: what there is and fits, fetching, choosing, removing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import DownloadFailed, ModelUnknown, SettingsError, Stopped, WeightsMissing
from backend.inference.download import Patience
from backend.inference.loading import ModelLoader
from backend.services.models import Fit, ListedModel, Memory, list_models, pull_model, remove_model, use_model
from backend.settings import EMBEDDING_PATH, TAGGER_PATH, Settings, load_settings
from tests.gguf_factory import write_random_encoder
from tests.hub import Hub, serve_hub

SMALL, SMALL_FILE = "qwen3-0.6b", "Qwen3-0.6B-Q8_0.gguf"
PLENTY = Memory(available=1 << 40, total=1 << 40)


@pytest.fixture
def hub(llm_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that serves an instruct model of random weights."""
    with serve_hub(llm_path.read_bytes()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield hub


def listed(settings: Settings, memory: Memory = PLENTY) -> dict[str, ListedModel]:
    """What there is, by name."""
    return {model.name: model for model in list_models(settings, memory)}


def test_fresh_home_lists_all_and_contacts_nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped two lie here and the tagger reads; the catalogue's could be fetched; no hub is needed to say so."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    models = listed(settings)
    assert [name for name, model in models.items() if model.path] == ["tagger", "all-MiniLM-L6-v2"]
    assert [name for name, model in models.items() if model.is_active] == ["tagger"]
    assert models["qwen3-4b-instruct-2507"].entry
    assert not settings.home.exists()


def test_fit_is_told_in_three_ways(settings: Settings) -> None:
    """What fits now, what would if memory were free, and what never will."""
    settings = settings.model_copy(update={"n_parallel": 1})
    need = listed(settings)[SMALL].need_bytes
    for memory, fit in (
        (Memory(need, need), Fit.NOW),
        (Memory(need - 1, need), Fit.LATER),
        (Memory(need - 1, need - 1), Fit.NEVER),
    ):
        assert listed(settings, memory)[SMALL].fit is fit


def test_need_is_the_loaders(settings: Settings, llm_path: Path) -> None:
    """With as many texts at once as the settings say, or as there is room for: what the list says, loading takes."""
    settings.models_dir.mkdir(parents=True)
    path = settings.models_dir / "mine.gguf"
    path.symlink_to(llm_path)
    chosen = settings.model_copy(update={"llm_path": path, "n_parallel": 4})
    need = listed(chosen)["mine.gguf"].need_bytes
    assert need == ModelLoader(chosen).need_bytes("llm")
    tight = listed(chosen, Memory(need - 1, need))["mine.gguf"]
    assert tight.fit is Fit.NOW
    assert ModelLoader(chosen, available_bytes=lambda: need - 1).try_out("llm").n_sequences == 3
    assert tight.need_bytes == ModelLoader(chosen.model_copy(update={"n_parallel": 3})).need_bytes("llm")


def test_longer_context_needs_more(settings: Settings) -> None:
    """The need follows the context that is set."""
    longer = settings.model_copy(update={"n_ctx_tokens": 32_768})
    assert listed(longer)[SMALL].need_bytes > listed(settings)[SMALL].need_bytes


def test_pull_use_and_remove(hub: Hub, settings: Settings) -> None:
    """A model comes, is pinned, reads, is not removed while it reads, and goes when that is insisted on."""
    pulled = pull_model(settings, SMALL)
    assert (pulled.path, pulled.size_bytes) == (settings.models_dir / SMALL_FILE, len(hub.payload))
    assert len(pulled.revision) == 40
    assert use_model(settings, SMALL).is_active
    chosen = load_settings(home=settings.home)
    assert chosen.llm_path == pulled.path
    assert [name for name, model in listed(chosen).items() if model.is_active] == [SMALL]
    with pytest.raises(SettingsError, match="reads new entries now"):
        remove_model(chosen, SMALL)
    assert remove_model(chosen, SMALL, even_active=True) == len(hub.payload)
    assert load_settings(home=settings.home).llm_path is None
    assert not (settings.models_dir / SMALL_FILE).exists()
    assert SMALL_FILE not in (settings.models_dir / "installed.json").read_text()


def test_second_pull_contacts_nobody(hub: Hub, settings: Settings) -> None:
    """What is here and pinned is not asked for again; a file that changed its size since is."""
    pull_model(settings, SMALL)
    before = len(hub.requests)
    pull_model(settings, SMALL)
    assert len(hub.requests) == before
    (settings.models_dir / SMALL_FILE).write_bytes(b"short")
    with pytest.raises(DownloadFailed, match="is not the hub's file"):
        pull_model(settings, SMALL)


def test_unfinished_download_is_no_model(hub: Hub, settings: Settings) -> None:
    """It is listed as so much of a download, cannot be used, and `rm` clears it away."""
    hub.drops = [1_000_000]
    with pytest.raises(DownloadFailed):
        pull_model(settings, SMALL, patience=Patience(pauses_s=()))
    model = listed(settings)[SMALL]
    assert (model.path, model.partial_bytes) == (None, 1_000_000)
    with pytest.raises(DownloadFailed, match=f"charlie models pull {SMALL}"):
        use_model(settings, SMALL)
    assert remove_model(settings, SMALL) == 1_000_000
    assert listed(settings)[SMALL].partial_bytes == 0


def test_refused_download_is_no_model(hub: Hub, settings: Settings) -> None:
    """A file with another hash than promised is neither listed nor usable."""
    hub.sha256 = "0" * 64
    with pytest.raises(DownloadFailed, match="SHA-256"):
        pull_model(settings, SMALL)
    assert [name for name, model in listed(settings).items() if model.path] == ["tagger", "all-MiniLM-L6-v2"]
    with pytest.raises(DownloadFailed):
        use_model(settings, SMALL)


def test_unknown_names(settings: Settings) -> None:
    """Each command names what could have been meant."""
    for command in (pull_model, use_model):
        with pytest.raises(ModelUnknown, match=SMALL):
            command(settings, "qwen3-06b")
    with pytest.raises(ModelUnknown):
        remove_model(settings, SMALL)


def test_own_file_by_path_and_by_name(settings: Settings, llm_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file anywhere is used by its path, one in the models folder by its name with or without its ending."""
    assert use_model(settings, str(llm_path)).path == llm_path
    monkeypatch.chdir(llm_path.parent)
    assert use_model(settings, llm_path.name).path == llm_path
    settings.models_dir.mkdir()
    own = settings.models_dir / "own.gguf"
    own.write_bytes(llm_path.read_bytes())
    for name in ("own", "own.gguf"):
        assert use_model(settings, name).path == own
    assert listed(load_settings(home=settings.home))["own.gguf"].is_active


def test_chosen_file_elsewhere_is_listed_and_not_removed(settings: Settings, llm_path: Path) -> None:
    """What lies in the person's own folders is shown and left alone, even with force."""
    use_model(settings, str(llm_path))
    chosen = load_settings(home=settings.home)
    assert listed(chosen)[str(llm_path)].is_active
    with pytest.raises(SettingsError, match="own models folder"):
        remove_model(chosen, str(llm_path), even_active=True)
    assert llm_path.exists()
    assert load_settings(home=settings.home).llm_path == llm_path


@pytest.mark.parametrize("name", ["tagger", "all-MiniLM-L6-v2", EMBEDDING_PATH.name])
def test_shipped_models_stay(settings: Settings, name: str) -> None:
    """What came with Charlie cannot be removed."""
    with pytest.raises(SettingsError):
        remove_model(settings, name, even_active=True)
    assert EMBEDDING_PATH.exists()


def test_tagger_can_be_gone_back_to(settings: Settings, llm_path: Path) -> None:
    """`use tagger` forgets the chosen model and removes nothing."""
    use_model(settings, str(llm_path))
    assert use_model(load_settings(home=settings.home), "tagger").is_active
    assert load_settings(home=settings.home).llm_path is None
    assert llm_path.exists()


def test_file_that_cannot_be_read_is_listed_with_the_reason(settings: Settings) -> None:
    """A damaged file is shown as what it is, and does not keep the others from being shown."""
    settings.models_dir.mkdir(parents=True)
    (settings.models_dir / "broken.gguf").write_bytes(b"GGUF")
    model = listed(settings)["broken.gguf"]
    assert (model.fit, model.need_bytes) == (Fit.UNKNOWN, 0)
    assert "truncated" in model.problem
    assert remove_model(settings, "broken") == 4


def test_other_kinds_are_used_as_what_they_are(settings: Settings, tmp_path: Path) -> None:
    """An embedding model and a reranker take their own place: who reads is not changed, and both can be taken back."""
    settings.models_dir.mkdir(parents=True)
    write_random_encoder(settings.models_dir / "vectors.gguf")
    write_random_encoder(settings.models_dir / "rank.gguf", labels=("relevant",))
    kinds = {name: model.kind for name, model in listed(settings).items()}
    assert (kinds["vectors.gguf"], kinds["rank.gguf"]) == ("embedding", "reranker")
    for name in ("vectors", "rank"):
        assert use_model(load_settings(home=settings.home), name).is_active
    chosen = load_settings(home=settings.home)
    assert chosen.embedding_path == settings.models_dir / "vectors.gguf"
    assert chosen.reranker_path == settings.models_dir / "rank.gguf"
    assert chosen.llm_path is None
    assert {n for n, model in listed(chosen).items() if model.is_active} == {"tagger", "vectors.gguf", "rank.gguf"}
    with pytest.raises(SettingsError, match="is in use now"):
        remove_model(chosen, "rank")
    remove_model(chosen, "rank", even_active=True)
    assert use_model(chosen, "all-MiniLM-L6-v2").path == EMBEDDING_PATH
    plain = load_settings(home=settings.home)
    assert (plain.embedding_path, plain.reranker_path) == (None, None)
    assert {n for n, model in listed(plain).items() if model.is_active} == {"tagger"}


def test_the_taggers_file_is_the_tagger(settings: Settings, llm_path: Path) -> None:
    """Named by its path it reads, and is not taken for an embedding model."""
    use_model(settings, str(llm_path))
    assert use_model(load_settings(home=settings.home), str(TAGGER_PATH)).name == "tagger"
    chosen = load_settings(home=settings.home)
    assert (chosen.llm_path, chosen.embedding_path) == (None, None)


def test_a_server_overrules_no_other_kind(settings: Settings, tmp_path: Path) -> None:
    """Where a server reads, an embedding model can still be chosen."""
    path = write_random_encoder(tmp_path / "vectors.gguf")
    assert use_model(settings.model_copy(update={"llm_url": "http://127.0.0.1:8080/v1"}), str(path)).is_active


def test_refused_choice_changes_nothing(settings: Settings, llm_path: Path) -> None:
    """With a file that is missing the choice stays what it was."""
    use_model(settings, str(llm_path))
    with pytest.raises(WeightsMissing):
        use_model(settings, "/nonexistent/model.gguf")
    assert load_settings(home=settings.home).llm_path == llm_path


def test_server_is_not_overruled_in_silence(settings: Settings, llm_path: Path) -> None:
    """Where a server reads, choosing a file would change nothing: that is said, and nothing here counts as active."""
    remote = settings.model_copy(update={"llm_url": "http://127.0.0.1:8080/v1"})
    with pytest.raises(SettingsError, match="reads in place of any model here"):
        use_model(remote, str(llm_path))
    assert not any(model.is_active for model in listed(remote).values())


def test_a_check_that_is_stopped_changes_nothing(settings: Settings, llm_path: Path) -> None:
    """In the middle of the try, and where the file is known and nothing is left to try."""
    with pytest.raises(Stopped):
        use_model(settings, str(llm_path), stopping=lambda: True)
    assert load_settings(home=settings.home).llm_path is None
    use_model(settings, str(llm_path))
    use_model(load_settings(home=settings.home), "tagger")
    with pytest.raises(Stopped):
        use_model(load_settings(home=settings.home), str(llm_path), stopping=lambda: True)
    assert load_settings(home=settings.home).llm_path is None

"""Turns a weights file into a llama.cpp model with one context: stateless, no opinion on when or how long.

The low-level interface is used throughout, because `llama_cpp.Llama` hides what matters here: `use_extra_bufts`
(with it every quantised file crashes on CPUs that have AMX inside some virtual machines), the progress callback,
and sequences; and it blanks file descriptors 1 and 2 while it loads.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from backend.errors import InferenceError, Stopped, WeightsUnusable
from backend.inference.bindings import bindings, native_log
from backend.inference.gguf_header import Header, read_header
from backend.inference.weights import quick_key

type Kind = Literal["llm", "tagger", "embedding", "reranker"]

ENCODERS: Final = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "eurobert"}
)
# Read this many tokens of a prompt at once; also the most that an encoder takes.
N_BATCH: Final = 512
# And an LLM this many, of all its sequences together: buffers grow with it, speed hardly does.
LLM_BATCH: Final = 256
# llama.cpp's number, in a file, for pooling by a head that ranks.
RANK_POOLING: Final = 4
# An encoder reads so many short texts in one go, each for itself.
ENCODER_SEQUENCES: Final = 16
# Instructions that an LLM keeps beside the texts in work, each in a sequence of its own.
KEPT_PREFIXES: Final = 4


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a file is loaded, apart from which file it is."""

    kind: Kind
    n_ctx_tokens: int
    n_threads: int
    # -1 for all; without effect where llama.cpp was built for the CPU alone.
    n_gpu_layers: int = 0
    # Repacked weights: quicker on some CPUs, a crash on others (see `probe`).
    use_extra_bufts: bool = False
    # Texts that may be in work at once; for an LLM each of them may have `n_ctx_tokens`.
    n_sequences: int = 1


class LoadedModel:
    """A model, its vocabulary and one context; owned by whoever loaded it.

    `lock` is held round every call that decodes: two threads in one context abort the process. `vocab_lock` is held
    round what needs the vocabulary alone, which may happen while another thread decodes. `close` takes both.
    """

    def __init__(
        self, path: Path, header: Header, settings: LoadSettings, model: Any, context: Any, identity: str = ""
    ) -> None:
        self.path = path
        self.header = header
        self.settings = settings
        # `quick_key` of the file that was loaded; empty where it changed meanwhile.
        self.identity = identity
        self.lock = threading.RLock()
        self.vocab_lock = threading.RLock()
        self._api = bindings()
        self._model = model
        self._context = context
        self._vocab = self._api.llama_model_get_vocab(model)
        # What was handed to llama.cpp and must live as long as the context.
        self.callbacks: list[Any] = []
        # Called by `close` before anything is freed: what still uses the model lets go of it.
        self.before_close: list[Callable[[], None]] = []
        # Tokens that all texts in work may have together, and one of them alone.
        self.n_cells = int(self._api.llama_n_ctx(context))
        # The library rounds a context up to a multiple of 256: beyond what was asked for an encoder has no position and
        # the batch no room, which aborts the process.
        self.n_ctx_tokens = min(int(self._api.llama_n_ctx_seq(context)), settings.n_ctx_tokens)
        self.n_embd = int(self._api.llama_model_n_embd(model))
        # Floats that a text is pooled into: a vector, or a score for each output of a ranking head.
        self.n_pooled = int(self._api.llama_model_n_cls_out(model)) if settings.kind == "reranker" else self.n_embd
        self.n_vocab = int(self._api.llama_vocab_n_tokens(self._vocab))
        self.n_params = int(self._api.llama_model_n_params(model))
        self.n_ctx_train = int(self._api.llama_model_n_ctx_train(model))

    @property
    def is_closed(self) -> bool:
        """Whether the memory has been given back; nothing else works then."""
        return self._context is None

    @property
    def context(self) -> Any:
        """The `llama_context` pointer. Raises InferenceError after `close`."""
        if self._context is None:
            raise InferenceError("the model has been unloaded: ask the manager for it again")
        return self._context

    @property
    def vocab(self) -> Any:
        """The `llama_vocab` pointer. Raises InferenceError after `close`."""
        if self._context is None:
            raise InferenceError("the model has been unloaded: ask the manager for it again")
        return self._vocab

    @property
    def architecture(self) -> str:
        """Such as `qwen3` or `bert`."""
        return self.header.architecture

    @property
    def chat_template(self) -> str:
        """The file's own Jinja template, or empty."""
        return str(self.header.values.get("tokenizer.chat_template", ""))

    def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """The tokens of `text`; `add_special` adds what begins and ends a text, `parse_special` reads `<|…|>`."""
        with self.vocab_lock:
            raw = text.encode("utf-8", "replace")
            room = len(raw) + 8
            tokens = (ctypes.c_int32 * room)()
            n = self._api.llama_tokenize(self.vocab, raw, len(raw), tokens, room, add_special, parse_special)
            if n < 0:  # more tokens than bytes: the library says how many
                room = -n
                tokens = (ctypes.c_int32 * room)()
                n = self._api.llama_tokenize(self.vocab, raw, len(raw), tokens, room, add_special, parse_special)
            return tokens[: max(n, 0)]

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token; a character may be spread over several."""
        with self.vocab_lock:
            room = 256
            buffer = ctypes.create_string_buffer(room)
            n = self._api.llama_token_to_piece(self.vocab, token, buffer, room, 0, special)
            if n < 0:
                buffer = ctypes.create_string_buffer(-n)
                n = self._api.llama_token_to_piece(self.vocab, token, buffer, -n, 0, special)
            return bytes(buffer.raw[: max(n, 0)])

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of `tokens`; broken characters become U+FFFD."""
        return b"".join(self.piece(token, special=special) for token in tokens).decode("utf-8", "replace")

    @property
    def adds_bos(self) -> bool:
        """Whether every prompt begins with the beginning-of-text token."""
        return bool(self._api.llama_vocab_get_add_bos(self.vocab))

    def special_token(self, which: Literal["bos", "eos"]) -> tuple[int, str] | None:
        """Number and text of the token that begins or ends a text; None where the vocabulary has none."""
        token = (self._api.llama_vocab_bos if which == "bos" else self._api.llama_vocab_eos)(self.vocab)
        return None if token < 0 else (token, self.piece(token, special=True).decode("utf-8", "replace"))

    def added_token(self, which: Literal["bos", "eos", "sep"]) -> int | None:
        """The token that the vocabulary wants at the beginning, the end or between two texts; None for none."""
        adds = getattr(self._api, f"llama_vocab_get_add_{which}")(self.vocab)
        token = int(getattr(self._api, f"llama_vocab_{which}")(self.vocab))
        return token if adds and token >= 0 else None

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """The tokens before and after every text of an encoder: `[CLS]` and `[SEP]` for BERT.

        Asked of the tokenizer: a BERT's adds [SEP] whether or not the file says that it adds an end.
        """
        added = self.tokenize("", add_special=True)
        n_before = 0 if self.added_token("bos") is None else 1
        return added[:n_before], added[n_before:]

    @property
    def can_be_cut(self) -> bool:
        """Whether a part of what was read can be taken back or shared; not where one state stands for all of it."""
        with self.vocab_lock:
            if self._model is None:
                raise InferenceError("the model has been unloaded: ask the manager for it again")
            return not (self._api.llama_model_is_recurrent(self._model) or self._api.llama_model_is_hybrid(self._model))

    def ends_answer(self, token: int) -> bool:
        """Whether `token` ends an answer or a turn."""
        return bool(self._api.llama_vocab_is_eog(self.vocab, token))

    def close(self) -> None:
        """Give the memory back; an engine's calls end first, another's are waited for. A second call does nothing."""
        while self.before_close:
            self.before_close.pop()()
        with self.lock, self.vocab_lock:
            context, self._context = self._context, None
            model, self._model = self._model, None
            if context is not None:
                self._api.llama_free(context)
            if model is not None:
                self._api.llama_model_free(model)
            self.callbacks.clear()


def load_model(
    path: Path | str,
    *,
    kind: Kind,
    n_ctx_tokens: int,
    n_threads: int,
    n_gpu_layers: int = 0,
    use_extra_bufts: bool = False,
    n_sequences: int | None = None,
    on_progress: Callable[[float], bool] | None = None,
) -> LoadedModel:
    """The model at `path`, ready to be used for `kind`; the caller closes it.

    `on_progress` is called with 0 to 1 from the loading thread; when it returns False, loading stops.

    Raises:
        WeightsMissing: there is no such file.
        WeightsUnusable: empty, truncated, not GGUF, of the wrong kind, or llama.cpp refuses it.
        Stopped: `on_progress` said so.
    """
    path = Path(path)
    header = read_header(path)
    check_kind(path, header, kind)
    identity = quick_key(path)
    sequences = n_sequences or (1 if kind == "llm" else ENCODER_SEQUENCES)
    n_ctx = n_ctx_tokens if kind == "llm" else _encoder_context(header, n_ctx_tokens, sequences)
    settings = LoadSettings(kind, n_ctx, n_threads, n_gpu_layers, use_extra_bufts, sequences)
    native_log().errors.clear()
    model = _open_model(path, settings, on_progress or (lambda _done: True))
    api = bindings()
    context = api.llama_init_from_model(model, _context_params(settings))
    if not context:
        api.llama_model_free(model)
        raise WeightsUnusable(path, _reason("llama.cpp cannot make a context for it"))
    is_same = path.exists() and quick_key(path) == identity
    return LoadedModel(path, header, settings, model, context, identity if is_same else "")


def check_kind(path: Path, header: Header, kind: Kind) -> None:
    """Raises WeightsUnusable where the file at `path` cannot serve as `kind`."""
    is_encoder = header.architecture in ENCODERS
    if header.n_tensors == 0:
        raise WeightsUnusable(path, "it holds a vocabulary and no weights")
    if header.values.get("general.type", "model") != "model" or header.architecture == "clip":
        raise WeightsUnusable(path, "it is an addition to a model (an adapter or a projector), not a model")
    # Some embedding models and rerankers are built as instruct models are; only these name a pooling.
    if kind == "llm" and (is_encoder or header.number("pooling_type")):
        does = "ranks texts" if header.number("pooling_type") == RANK_POOLING else "is an embedding model"
        raise WeightsUnusable(path, f"it {does} ({header.architecture}) and cannot write answers")
    if kind != "llm" and not is_encoder:
        raise WeightsUnusable(path, f"it is no text encoder ({header.architecture or 'unknown'})")
    ranks = header.number("pooling_type") == RANK_POOLING
    if kind == "reranker" and not ranks:
        raise WeightsUnusable(path, "it has no head that ranks: it is an embedding model")
    if kind == "embedding" and ranks:
        raise WeightsUnusable(path, "it ranks texts (a reranker) and gives no vectors")


def _open_model(path: Path, settings: LoadSettings, on_progress: Callable[[float], bool]) -> Any:
    api = bindings()
    was_stopped = False

    def progressed(done: float, _user_data: Any) -> bool:
        nonlocal was_stopped
        was_stopped = was_stopped or not on_progress(done)
        return not was_stopped

    params = api.llama_model_default_params()
    params.n_gpu_layers = settings.n_gpu_layers
    params.use_extra_bufts = settings.use_extra_bufts
    # In a local name, so that it lives until the load is over.
    callback = api.llama_progress_callback(progressed)
    params.progress_callback = callback
    model = api.llama_model_load_from_file(str(path).encode(), params)
    if was_stopped:
        if model:
            api.llama_model_free(model)
        raise Stopped
    if not model:
        raise WeightsUnusable(path, _reason("llama.cpp cannot load it"))
    return model


def _encoder_context(header: Header, wanted: int, n_sequences: int) -> int:
    """Tokens of an encoder's context: it knows no position after those it was trained on.

    A multiple of its sequences: else llama.cpp (llama-cpp-python 0.3.36) aborts the process while it plans the pooling.
    """
    longest = min(wanted, header.number("context_length", N_BATCH))
    return max(longest - longest % n_sequences, n_sequences)


def _context_params(settings: LoadSettings) -> Any:
    api = bindings()
    params = api.llama_context_default_params()
    is_encoder, n_ctx = settings.kind != "llm", settings.n_ctx_tokens
    params.n_ctx = n_ctx if is_encoder else n_ctx * settings.n_sequences
    params.n_batch = params.n_ubatch = min(N_BATCH, n_ctx) if is_encoder else LLM_BATCH
    params.n_seq_max = settings.n_sequences if is_encoder else settings.n_sequences + KEPT_PREFIXES
    # One pool for all sequences: apart, each would get n_ctx / n_seq_max, and copying a part of a prefix asserts.
    params.kv_unified = True
    params.n_threads = params.n_threads_batch = settings.n_threads
    # On a CPU flash attention makes 8 sequences take 316 ms a step where 143 do (0.6B shape, 2,600 tokens held).
    is_on_cpu = settings.n_gpu_layers == 0 and not is_encoder
    params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED if is_on_cpu else api.LLAMA_FLASH_ATTN_TYPE_AUTO
    params.embeddings = is_encoder
    params.no_perf = True
    if settings.kind == "tagger":
        params.pooling_type = api.LLAMA_POOLING_TYPE_NONE
    elif settings.kind == "reranker":
        params.pooling_type = api.LLAMA_POOLING_TYPE_RANK
    if not is_encoder:
        # Room for the logits of every token of a batch would be 311 MB with a vocabulary of 151,936.
        params.n_outputs_max = params.n_seq_max
    return params


def _reason(otherwise: str) -> str:
    """The library's own words on a failed load, in one line."""
    words = [line.split(": ", 1)[-1] for line in native_log().errors if line]
    return f"{otherwise} ({words[0]})" if words else otherwise

"""Writes random-weight models with a real vocabulary: llama.cpp itself, without anybody's weights.

A file of two layers takes half a second and 26 MB, nearly all of it the vocabulary's embedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.settings import EMBEDDING_PATH
from tests.gguf_file import Quant, Tensor, Value, matrix, vector, vocabulary_of, write_gguf

VOCABULARY = Path(__file__).parent / "data" / "ggml-vocab-qwen2.gguf"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model; widths are multiples of 32, as Q8_0 needs."""

    n_layers: int = 2
    n_embd: int = 64
    n_heads: int = 4
    n_heads_kv: int = 2
    n_ff: int = 128
    n_ctx: int = 8192

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_heads


def write_random_llm(
    path: Path,
    *,
    n_layers: int = 2,
    n_embd: int = 64,
    n_heads: int = 4,
    n_heads_kv: int = 2,
    n_ff: int = 128,
    quant: Quant = "f16",
    chat_template: str | None = CHATML,
    seed: int = 0,
) -> Path:
    """A qwen2-architecture instruct model with random weights at `path`, which is returned."""
    shape = Shape(n_layers, n_embd, n_heads, n_heads_kv, n_ff)
    values = _described("qwen2", chat_template) | {
        "qwen2.block_count": shape.n_layers,
        "qwen2.context_length": shape.n_ctx,
        "qwen2.embedding_length": shape.n_embd,
        "qwen2.feed_forward_length": shape.n_ff,
        "qwen2.attention.head_count": shape.n_heads,
        "qwen2.attention.head_count_kv": shape.n_heads_kv,
        "qwen2.attention.layer_norm_rms_epsilon": 1e-6,
        "qwen2.rope.freq_base": 1e6,
    }
    vocabulary = vocabulary_of(VOCABULARY)
    tensors = _qwen2(shape, vocabulary.n_tokens, quant, np.random.default_rng(seed))
    return write_gguf(path, values, vocabulary, tensors)


def write_random_mamba(path: Path, *, seed: int = 0) -> Path:
    """A recurrent instruct model: one state stands for all that was read, and cannot be cut."""
    values = _described("mamba", CHATML) | {
        "mamba.block_count": 2,
        "mamba.context_length": 8192,
        "mamba.embedding_length": 64,
        "mamba.feed_forward_length": 0,
        "mamba.attention.head_count": 0,
        "mamba.attention.layer_norm_rms_epsilon": 1e-6,
        "mamba.ssm.conv_kernel": 4,
        "mamba.ssm.inner_size": 128,
        "mamba.ssm.state_size": 16,
        "mamba.ssm.time_step_rank": 4,
    }
    vocabulary = vocabulary_of(VOCABULARY)
    return write_gguf(path, values, vocabulary, _mamba(vocabulary.n_tokens, np.random.default_rng(seed)))


def write_random_gemma3(path: Path, *, n_window: int = 32, seed: int = 0) -> Path:
    """An instruct model most of whose layers look at the last `n_window` tokens alone."""
    shape = Shape(n_layers=6, n_heads_kv=1)
    values = _described("gemma3", CHATML) | {
        "gemma3.block_count": shape.n_layers,
        "gemma3.context_length": shape.n_ctx,
        "gemma3.embedding_length": shape.n_embd,
        "gemma3.feed_forward_length": shape.n_ff,
        "gemma3.attention.head_count": shape.n_heads,
        "gemma3.attention.head_count_kv": shape.n_heads_kv,
        "gemma3.attention.key_length": shape.head_size,
        "gemma3.attention.value_length": shape.head_size,
        "gemma3.attention.layer_norm_rms_epsilon": 1e-6,
        "gemma3.attention.sliding_window": n_window,
        "gemma3.rope.freq_base": 1e6,
    }
    vocabulary = vocabulary_of(VOCABULARY)
    return write_gguf(path, values, vocabulary, _gemma3(shape, vocabulary.n_tokens, np.random.default_rng(seed)))


def write_random_encoder(
    path: Path,
    *,
    n_layers: int = 2,
    n_embd: int = 64,
    n_ctx: int = 512,
    labels: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> Path:
    """A BERT with the shipped embedding model's vocabulary; with `labels` it has a head that ranks, one score each.

    Keys of the tokenizer that stand in `without` are left out.
    """
    shape = Shape(n_layers, n_embd, n_ctx=n_ctx)
    values: dict[str, Value] = _described("bert", None) | {
        "bert.block_count": shape.n_layers,
        "bert.context_length": shape.n_ctx,
        "bert.embedding_length": shape.n_embd,
        "bert.feed_forward_length": shape.n_ff,
        "bert.attention.head_count": shape.n_heads,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        # llama.cpp's numbers: the mean of all tokens, or a head that ranks.
        "bert.pooling_type": 4 if labels else 1,
    }
    if labels:
        values["bert.classifier.output_labels"] = labels
    vocabulary = vocabulary_of(EMBEDDING_PATH, without=without)
    tensors = _bert(shape, vocabulary.n_tokens, len(labels), np.random.default_rng(0))
    return write_gguf(path, values, vocabulary, tensors)


def _described(architecture: str, chat_template: str | None) -> dict[str, Value]:
    texts: dict[str, Value] = {"general.architecture": architecture, "general.type": "model", "general.name": "random"}
    return texts | ({} if chat_template is None else {"tokenizer.chat_template": chat_template})


def _qwen2(shape: Shape, n_vocab: int, quant: Quant, random: np.random.Generator) -> Iterator[Tensor]:
    width_kv = shape.n_heads_kv * shape.head_size
    yield matrix("token_embd", n_vocab, shape.n_embd, random, quant)
    yield vector("output_norm.weight", shape.n_embd, 1.0)
    for layer in range(shape.n_layers):
        block = f"blk.{layer}"
        yield vector(f"{block}.attn_norm.weight", shape.n_embd, 1.0)
        yield vector(f"{block}.ffn_norm.weight", shape.n_embd, 1.0)
        for name, width in (("q", shape.n_embd), ("k", width_kv), ("v", width_kv)):
            yield matrix(f"{block}.attn_{name}", width, shape.n_embd, random, quant)
            yield vector(f"{block}.attn_{name}.bias", width, 0.0)
        yield matrix(f"{block}.attn_output", shape.n_embd, shape.n_embd, random, quant)
        yield matrix(f"{block}.ffn_gate", shape.n_ff, shape.n_embd, random, quant)
        yield matrix(f"{block}.ffn_up", shape.n_ff, shape.n_embd, random, quant)
        yield matrix(f"{block}.ffn_down", shape.n_embd, shape.n_ff, random, quant)


def _mamba(n_vocab: int, random: np.random.Generator) -> Iterator[Tensor]:
    n_embd, n_inner, n_state, n_rank, n_kernel = 64, 128, 16, 4, 4
    yield matrix("token_embd", n_vocab, n_embd, random)
    yield vector("output_norm.weight", n_embd, 1.0)
    for layer in range(2):
        block = f"blk.{layer}"
        yield vector(f"{block}.attn_norm.weight", n_embd, 1.0)
        yield matrix(f"{block}.ssm_in", 2 * n_inner, n_embd, random)
        yield matrix(f"{block}.ssm_conv1d", n_inner, n_kernel, random, "f32")
        yield vector(f"{block}.ssm_conv1d.bias", n_inner, 0.0)
        yield matrix(f"{block}.ssm_x", n_rank + 2 * n_state, n_inner, random)
        yield matrix(f"{block}.ssm_dt", n_inner, n_rank, random, "f32")
        # Small steps, so that a state outlasts the end of the prompt.
        yield vector(f"{block}.ssm_dt.bias", n_inner, -4.0)
        decay = -np.tile(np.arange(1, n_state + 1, dtype=np.float32), (n_inner, 1))
        yield Tensor(f"{block}.ssm_a", (n_inner, n_state), 0, decay.tobytes())
        yield vector(f"{block}.ssm_d", n_inner, 1.0)
        yield matrix(f"{block}.ssm_out", n_embd, n_inner, random)


def _gemma3(shape: Shape, n_vocab: int, random: np.random.Generator) -> Iterator[Tensor]:
    width_kv = shape.n_heads_kv * shape.head_size
    yield matrix("token_embd", n_vocab, shape.n_embd, random)
    yield vector("output_norm.weight", shape.n_embd, 1.0)
    for layer in range(shape.n_layers):
        block = f"blk.{layer}"
        for norm in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            yield vector(f"{block}.{norm}.weight", shape.n_embd, 1.0)
        for norm in ("attn_q_norm", "attn_k_norm"):
            yield vector(f"{block}.{norm}.weight", shape.head_size, 1.0)
        for name, width in (("q", shape.n_embd), ("k", width_kv), ("v", width_kv)):
            yield matrix(f"{block}.attn_{name}", width, shape.n_embd, random)
        yield matrix(f"{block}.attn_output", shape.n_embd, shape.n_embd, random)
        yield matrix(f"{block}.ffn_gate", shape.n_ff, shape.n_embd, random)
        yield matrix(f"{block}.ffn_up", shape.n_ff, shape.n_embd, random)
        yield matrix(f"{block}.ffn_down", shape.n_embd, shape.n_ff, random)


def _bert(shape: Shape, n_vocab: int, n_labels: int, random: np.random.Generator) -> Iterator[Tensor]:
    width = shape.n_embd
    yield matrix("token_embd", n_vocab, width, random)
    yield matrix("position_embd", shape.n_ctx, width, random, "f32")
    yield matrix("token_types", 2, width, random, "f32")
    yield from _norm("token_embd_norm", width)
    for layer in range(shape.n_layers):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield matrix(f"{block}.{name}", width, width, random)
            yield vector(f"{block}.{name}.bias", width, 0.0)
        yield from _norm(f"{block}.attn_output_norm", width)
        yield matrix(f"{block}.ffn_up", shape.n_ff, width, random)
        yield vector(f"{block}.ffn_up.bias", shape.n_ff, 0.0)
        yield matrix(f"{block}.ffn_down", width, shape.n_ff, random)
        yield vector(f"{block}.ffn_down.bias", width, 0.0)
        yield from _norm(f"{block}.layer_output_norm", width)
    if n_labels:
        yield matrix("cls", width, width, random)
        yield vector("cls.bias", width, 0.0)
        yield matrix("cls.output", n_labels, width, random)
        yield vector("cls.output.bias", n_labels, 0.0)


def _norm(name: str, width: int) -> Iterator[Tensor]:
    yield vector(f"{name}.weight", width, 1.0)
    yield vector(f"{name}.bias", width, 0.0)

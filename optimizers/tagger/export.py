"""Writes a trained network as the two files that Charlie reads: the encoder as GGUF, the head as plain arrays."""

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

from optimizers.tagger.network import Network

_NAMES: Final = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
# What the writer puts in by itself.
_OWN: Final = ("GGUF.", "general.architecture")
_POOLING_NONE: Final = 0
_KEPT_WHOLE: Final = ("embeddings.position", "embeddings.token_type")


@torch.no_grad()
def rounded(network: Network) -> None:
    """Give the encoder the values that it will have in the file, so that all that is measured is measured of those."""
    for key, tensor in network.encoder.state_dict().items():
        if tensor.dim() == 2 and not key.startswith(_KEPT_WHOLE):
            stored = quantize(tensor.float().numpy(), GGMLQuantizationType.Q8_0)
            tensor.copy_(torch.from_numpy(dequantize(stored, GGMLQuantizationType.Q8_0)))


def write_encoder(network: Network, path: Path, *, like: Path, name: str) -> None:
    """The encoder in Q8_0, its vocabulary and parameters copied from the GGUF file `like` of the same shape."""
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(partial, "bert")
    for key, field in GGUFReader(like).fields.items():
        if key.startswith(_OWN):
            continue
        value = {"general.name": name, "bert.pooling_type": _POOLING_NONE}.get(key, field.contents())
        is_array = field.types[0] is GGUFValueType.ARRAY
        writer.add_key_value(key, value, field.types[0], field.types[-1] if is_array else None)
    kinds = {tensor.name: tensor.tensor_type for tensor in GGUFReader(like).tensors}
    for key, tensor in network.encoder.state_dict().items():
        gguf_name = _gguf_name(key)
        if gguf_name in kinds:
            weights = tensor.detach().float().numpy()
            is_small = kinds[gguf_name] is not GGMLQuantizationType.Q8_0
            data = weights if is_small else quantize(weights, GGMLQuantizationType.Q8_0)
            writer.add_tensor(gguf_name, data, raw_dtype=kinds[gguf_name])
            del kinds[gguf_name]
    if kinds:
        raise ValueError(f"the network lacks {', '.join(kinds)}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, path)


def write_head(network: Network, calibration: Any, path: Path) -> None:
    """The head's layers and the calibration, shape (types, 2), as float32."""
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        hidden_weight=network.hidden.weight.detach().numpy().astype(np.float32),
        hidden_bias=network.hidden.bias.detach().numpy().astype(np.float32),
        out_weight=network.out.weight.detach().numpy().astype(np.float32),
        out_bias=network.out.bias.detach().numpy().astype(np.float32),
        calibration=np.asarray(calibration, dtype=np.float32),
    )
    os.replace(partial, path)


def _gguf_name(key: str) -> str:
    module, _, kind = key.rpartition(".")
    if module.startswith("encoder.layer."):
        number, _, inner = module.removeprefix("encoder.layer.").partition(".")
        return f"blk.{number}.{_NAMES.get(inner, inner)}.{kind}"
    return f"{_NAMES.get(module, module)}.{kind}"

"""Which tensor of a Hugging Face checkpoint is which parameter."""

import re
from dataclasses import dataclass, replace
from typing import Any

import jax

from agentbank_jax.models import forward, lora
from agentbank_jax.models.llama_config import LlamaConfig

# Last part of a parameter's path → last part of the tensor's name.
_SUFFIXES = {
    "kernel": "weight",
    "embedding": "weight",
    "scale": "weight",
    "bias": "bias",
    "a": "lora_A.weight",
    "b": "lora_B.weight",
}
_TRANSPOSED = ("kernel", "a", "b")
# Tables of cosines and sines that older checkpoints carry; they follow from the configuration.
_ROTARY_TABLE = re.compile(r"(model\.layers\.\d+\.self_attn|model)\.rotary_emb\.(inv_freq|cos_cached|sin_cached)")
HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"


@dataclass(frozen=True, kw_only=True)
class HfTensor:
    """One tensor of a checkpoint, and where it goes.

    Fields:
      name: of the tensor, such as `model.layers.3.mlp.up_proj.weight`.
      shape: of the tensor; a projection's is [outputs, inputs].
      path: keys of the parameter in the nested dict of `models.forward`.
      layer: its place along the parameter's first axis; None where the parameter has no axis of layers.
      transposed: whether the parameter is the tensor's transpose.
    """

    name: str
    shape: tuple[int, ...]
    path: tuple[str, ...]
    layer: int | None
    transposed: bool


def hf_tensors(config: LlamaConfig) -> list[HfTensor]:
    """Returns every tensor of a model's checkpoint, layer by layer in the order in which they are computed with."""
    return _tensors(forward.abstract_params(config.base), config.num_layers)


def peft_tensors(config: LlamaConfig) -> list[HfTensor]:
    """Returns every tensor of the model's adapters in the layout of `peft`."""
    adapters, _ = lora.split(forward.abstract_params(config))
    tensors = _tensors(adapters, config.num_layers)
    return [replace(tensor, name=f"base_model.model.{tensor.name}") for tensor in tensors]


def _tensors(abstract: forward.Params, num_layers: int) -> list[HfTensor]:
    tensors = []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(abstract):
        path = tuple(key.key for key in keys)
        stacked = path[0] == "layers"
        shape = leaf.shape[1:] if stacked else leaf.shape
        transposed = path[-1] in _TRANSPOSED
        for layer in range(num_layers) if stacked else (None,):
            tensors.append(
                HfTensor(
                    name=_name(path, layer),
                    shape=shape[::-1] if transposed else shape,
                    path=path,
                    layer=layer,
                    transposed=transposed,
                )
            )
    return sorted(tensors, key=lambda tensor: (_place(tensor), tensor.name))


def is_known_extra(name: str, config: LlamaConfig) -> bool:
    """Whether a tensor that no parameter needs may stand in a checkpoint all the same."""
    return bool(_ROTARY_TABLE.fullmatch(name)) or (name == HEAD and config.tie_word_embeddings)


def leaf_at(tree: Any, path: tuple[str, ...]) -> Any:
    """The leaf of a nested dict at a path of keys."""
    for key in path:
        tree = tree[key]
    return tree


def _name(path: tuple[str, ...], layer: int | None) -> str:
    parts = [*(part for part in path[:-1] if part != lora.ADAPTER), _SUFFIXES[path[-1]]]
    if layer is not None:
        parts.insert(1, str(layer))
    return ".".join(parts if path[0] == "lm_head" else ["model", *parts])


def _place(tensor: HfTensor) -> int:
    if tensor.layer is not None:
        return tensor.layer
    return -1 if tensor.path[0] == "embed_tokens" else 1 << 30

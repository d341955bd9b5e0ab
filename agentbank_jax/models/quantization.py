"""Weights of generation in int8: a quarter of the memory of float32, and of what each token reads.

Every output channel of a kernel has a scale, the largest magnitude of its weights / 127, and a weight is the nearest
multiple of it: the symmetric, vector-wise quantisation of LLM.int8() (Dettmers et al., 2022), of the weights alone.
Activations stay as they are, so that

  x @ kernel  is about  (x @ int8 kernel) * scale

  params = quantize(forward.init(config))
  logits_BTV, _ = forward.apply(config, params, tokens_BT, positions_BT)

A scale stands beside its kernel (`layers/mlp/up_proj/scale`). Norms and biases stay, and so does the embedding, unless
it is the output projection too; each of its tokens is a channel then. Such parameters are not for training.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int8

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.lora import split
from agentbank_jax.models.partitioning import set_mesh_axes

SCALE = "scale"
"""The key of the scales in the parameters of a projection."""

LARGEST = 127
"""The largest magnitude of a quantised weight; -128 is not used, so that a weight and its negative round alike."""

# Channels that are converted at once on CPU: of 512 inputs they are 512 KB, which stay in a core's cache.
_BLOCK = 256


def quantize(params: Any, *, consume: bool = False) -> Any:
    """Parameters whose kernels are int8, with float32 scales beside them; one kernel is converted after the other.

    Args:
      params: from `forward.init` or a checkpoint, whose layers are stacked. What is quantised stays as it is.
      consume: whether a kernel's memory is given back as soon as it is converted; `params` is of no use then.

    Returns:
      The parameters; what was divided over a mesh still is, without being gathered.

    Raises:
      AgentBankError: there are adapters.
    """
    if split(params)[0]:
        raise AgentBankError(
            "Parameters with adapters cannot be quantised to int8; expected a model without. "
            "Merge them first (models.lora.merge)."
        )

    def convert(weights: Array, inputs_axis: int) -> tuple[Array, Array]:
        quantized, scale = _rounded(weights, inputs_axis, _shardings(weights, inputs_axis))
        if consume:
            jax.block_until_ready((quantized, scale))
            weights.delete()
        return quantized, scale

    return _converted(params, convert, tied="lm_head" not in params)


def dequantize(params: Any, dtype: str = "float32") -> Any:
    """The inverse of `quantize` but for the rounding: kernels of `dtype`, and no scales."""

    def restored(tree: dict[str, Any]) -> dict[str, Any]:
        tree = {name: restored(value) if isinstance(value, dict) else value for name, value in tree.items()}
        for name, inputs_axis in _INPUTS_AXES.items():
            if name in tree and SCALE in tree:
                scale = jnp.expand_dims(tree.pop(SCALE), inputs_axis)
                tree[name] = (tree[name] * scale).astype(dtype)
        return tree

    return restored(params)


def is_quantized(params: Any) -> bool:
    """Whether parameters, of stacked layers or not, are from `quantize`."""
    return SCALE in params.get("lm_head", params["embed_tokens"])


# A kernel is [inputs, outputs] of each layer; the embedding, as an output projection, [outputs, inputs].
_INPUTS_AXES = {"kernel": -2, "embedding": -1}


def _converted(tree: dict[str, Any], convert: Callable[[Array, int], tuple[Array, Array]], tied: bool) -> Any:
    converted = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            converted[name] = _converted(value, convert, tied)
        elif value.dtype != jnp.int8 and (name == "kernel" or (name == "embedding" and tied)):
            converted[name], converted[SCALE] = convert(value, _INPUTS_AXES[name])
        else:
            converted[name] = value
    return converted


def _shardings(weights: Array, inputs_axis: int) -> tuple[NamedSharding, NamedSharding] | None:
    """Where the quantised weights lie, and their scales: as the weights do, less their inputs."""
    if not isinstance(weights.sharding, NamedSharding):
        return None
    axes = [*weights.sharding.spec, *[None] * (weights.ndim - len(weights.sharding.spec))]
    del axes[inputs_axis]
    return weights.sharding, NamedSharding(weights.sharding.mesh, PartitionSpec(*axes))


@partial(jax.jit, static_argnames=("inputs_axis", "shardings"))
def _rounded(
    weights: Float[Array, "..."], inputs_axis: int, shardings: tuple[NamedSharding, NamedSharding] | None
) -> tuple[Int8[Array, "..."], Float[Array, "..."]]:
    weights = weights.astype(jnp.float32)
    scale = jnp.abs(weights).max(inputs_axis, keepdims=True) / LARGEST
    # Below the smallest normal number, where processors may compute with zeros, so does the channel.
    scale = jnp.where(scale < jnp.finfo(jnp.float32).tiny, 0.0, scale)
    quantized = jnp.round(weights / jnp.where(scale == 0.0, jnp.inf, scale)).astype(jnp.int8)
    scale = scale.squeeze(inputs_axis)
    return jax.lax.with_sharding_constraint((quantized, scale), shardings) if shardings else (quantized, scale)


def project_quantized(
    x: Float[Array, "... inputs"],
    kernel: Int8[Array, "inputs outputs"] | Int8[Array, "outputs inputs"],
    scale: Float[Array, " outputs"],
    *,
    transposed: bool = False,
) -> Float[Array, "... outputs"]:
    """`x @ (kernel * scale)` in float32, of the kernel's transpose if `transposed`, without making that kernel.

    The scale is applied to the product. Every int8 is exact in bfloat16 and in float32, so that nothing is rounded
    but the sum.
    """
    axis = int(transposed)

    def product(x: Array, kernel: Array) -> Array:
        dimensions = (((x.ndim - 1,), (axis,)), ((), ()))
        return jax.lax.dot_general(x, kernel.astype(x.dtype), dimensions, preferred_element_type=jnp.float32)

    def in_blocks(x: Array, kernel: Array) -> Array:
        """A few channels at a time: XLA's CPU compiler converts all that a product reads, and keeps it for a loop."""
        outputs = kernel.shape[1 - axis]

        def block(number: Array, found: Array) -> Array:
            start = number * _BLOCK
            part = product(x, jax.lax.dynamic_slice_in_dim(kernel, start, _BLOCK, 1 - axis))
            return jax.lax.dynamic_update_slice_in_dim(found, part, start, found.ndim - 1)

        whole = outputs // _BLOCK
        found = jax.lax.fori_loop(0, whole, block, jnp.zeros((*x.shape[:-1], whole * _BLOCK), jnp.float32))
        rest = product(x, jax.lax.slice_in_dim(kernel, whole * _BLOCK, outputs, axis=1 - axis))
        return jnp.concatenate([found, rest], axis=-1)

    # Blocks of a kernel that is divided over a mesh would be gathered.
    if set_mesh_axes() or kernel.shape[1 - axis] <= _BLOCK:
        return product(x, kernel) * scale
    return jax.lax.platform_dependent(x, kernel, cpu=in_blocks, default=product) * scale

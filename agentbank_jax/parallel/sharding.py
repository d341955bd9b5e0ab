"""Where each parameter lives: logical axes per parameter, and rules from logical to mesh axes."""

import math
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import ADAPTER
from agentbank_jax.models.quantization import SCALE
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, ShardingRules

LOGICAL_AXES: dict[str, tuple[str, ...]] = {
    "embed_tokens/embedding": ("vocab", "embed"),
    "layers/input_layernorm/scale": ("layers", "norm"),
    "layers/self_attn/q_proj/kernel": ("layers", "embed", "heads"),
    "layers/self_attn/q_proj/bias": ("layers", "heads"),
    "layers/self_attn/k_proj/kernel": ("layers", "embed", "kv_heads"),
    "layers/self_attn/k_proj/bias": ("layers", "kv_heads"),
    "layers/self_attn/v_proj/kernel": ("layers", "embed", "kv_heads"),
    "layers/self_attn/v_proj/bias": ("layers", "kv_heads"),
    "layers/self_attn/o_proj/kernel": ("layers", "heads", "embed"),
    "layers/post_attention_layernorm/scale": ("layers", "norm"),
    "layers/mlp/gate_proj/kernel": ("layers", "embed", "mlp"),
    "layers/mlp/up_proj/kernel": ("layers", "embed", "mlp"),
    "layers/mlp/down_proj/kernel": ("layers", "mlp", "embed"),
    "norm/scale": ("norm",),
    "lm_head/kernel": ("embed", "vocab"),
}

# The scales of a quantised kernel lie as its outputs do (see `models.quantization`).
for _name, _axes in [*LOGICAL_AXES.items()]:
    if _name.endswith("/kernel"):
        LOGICAL_AXES[_name.replace("kernel", SCALE)] = (*_axes[:-2], _axes[-1])
LOGICAL_AXES[f"embed_tokens/{SCALE}"] = ("vocab",)

# An adapter's A lies as the inputs of its kernel do, its B as the outputs.
for _name, _axes in [*LOGICAL_AXES.items()]:
    if _name.startswith("layers/") and _name.endswith("/kernel"):
        LOGICAL_AXES[_name.replace("kernel", f"{ADAPTER}/a")] = (*_axes[:2], "rank")
        LOGICAL_AXES[_name.replace("kernel", f"{ADAPTER}/b")] = (_axes[0], "rank", _axes[2])

_SIZES = {
    "layers": "num_layers",
    "embed": "hidden_size",
    "norm": "hidden_size",
    "heads": "num_heads",
    "kv_heads": "num_kv_heads",
    "mlp": "intermediate_size",
    "vocab": "vocab_size",
}
"""The field of `LlamaConfig` that must divide where a logical axis is divided."""


def path_name(path: tuple[Any, ...]) -> str:
    """`layers/mlp/up_proj/kernel` for the path of a leaf."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


# The moments that Adafactor keeps of a matrix (`optax.scale_by_factored_rms`): means over its longest side and over
# the next, by their places among the sides in ascending order.
_AVERAGED = {"v_row": -1, "v_col": -2}


def state_specs(abstract: Any, rules: ShardingRules = DEFAULT_RULES, params: Any = None) -> Any:
    """The partition of every leaf of parameters, optimizer state or a whole train state.

    What has the shape of the parameter whose name its path ends with lies as the parameter does. A mean over one of
    its axes, as Adafactor keeps, lies as the axes that are left; everything else is whole on every device.

    Args:
      abstract: a tree with shapes.
      rules: how parameters lie.
      params: their tree; None where `abstract` has them, or is them.
    """
    params = getattr(abstract, "params", abstract) if params is None else params
    shapes = {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(params)}

    def spec(path, leaf):
        name = path_name(path)
        known = next((known for known in LOGICAL_AXES if name == known or name.endswith("/" + known)), None)
        if known is None:
            return PartitionSpec()
        axes, shape = LOGICAL_AXES[known], shapes.get(known)
        if shape is None or leaf.shape == shape:
            return rules.spec(axes) if len(axes) <= leaf.ndim else PartitionSpec()
        # Each of the stacked layers is averaged by itself.
        first = int(axes[0] == "layers")
        for factor, place in _AVERAGED.items():
            if len(shape) - first > 1 and name.endswith(f"/{factor}/{known}"):
                averaged = first + int(np.argsort(shape[first:])[place])
                if leaf.shape == shape[:averaged] + shape[averaged + 1 :]:
                    return rules.spec(axes[:averaged] + axes[averaged + 1 :])
        return PartitionSpec()

    return jax.tree_util.tree_map_with_path(spec, abstract)


def state_shardings(mesh: Mesh, abstract: Any, rules: ShardingRules = DEFAULT_RULES) -> Any:
    """A `NamedSharding` for every leaf of parameters or a whole train state (see `state_specs`)."""
    return jax.tree.map(partial(NamedSharding, mesh), state_specs(abstract, rules))


def with_shardings(abstract: Any, shardings: Any, dtype: str | None = None) -> Any:
    """A tree of shapes that says where its arrays lie; of another type where `dtype` is given."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, dtype or leaf.dtype, sharding=sharding),
        abstract,
        shardings,
    )


def batch_sharding(mesh: Mesh, rules: ShardingRules = DEFAULT_RULES) -> NamedSharding:
    """Of arrays [rows, length]."""
    return NamedSharding(mesh, rules.spec(("batch", "length")))


@cache
def rows_of_process(sharding: NamedSharding, shape: tuple[int, int]) -> tuple[int, int]:
    """Which part of a batch's rows this process's devices hold: `(index, count)`, part `index` of `count` equal ones.

    Processes that lie along another axis of the mesh than the rows' hold the same part.

    Args:
      sharding: of the batch, from `batch_sharding`.
      shape: of the batch, [rows, length].

    Raises:
      AgentBankError: the rows do not divide, or the devices of a process hold rows that are not side by side.
    """
    if jax.process_count() == 1:
        return 0, 1
    total, parts = shape[0], len(set(map(str, sharding.devices_indices_map((sharding.mesh.size, 1)).values())))
    if total % parts:
        raise AgentBankError(f"A batch of {total} rows does not divide over {parts} parts of the mesh.")
    places = sharding.addressable_devices_indices_map(shape).values()
    held = sorted({index[0].indices(total)[:2] for index in places if index is not None})
    first, last = held[0][0], held[-1][1]
    rows = last - first
    if sum(end - start for start, end in held) != rows or first % rows or total % rows:
        raise AgentBankError(
            f"The devices of process {jax.process_index()} hold rows {held} of a batch of {total}: expected one part "
            "of equal ones. Put the mesh's axes data and fsdp before the others, and as many devices on each process."
        )
    return first // rows, total // rows


def put_batch(rows: Mapping[str, np.ndarray], sharding: NamedSharding, shape: tuple[int, int]) -> dict[str, jax.Array]:
    """Puts a batch onto the devices of all processes.

    Args:
      rows: arrays [rows of this process, length], those that `rows_of_process` names.
      sharding: of the batch, from `batch_sharding`.
      shape: of the batch, [rows, length].
    """
    if jax.process_count() == 1:
        return jax.device_put(dict(rows), sharding)
    first = rows_of_process(sharding, shape)[0] * len(next(iter(rows.values())))

    def put(values: np.ndarray) -> jax.Array:
        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            start, end, _ = index[0].indices(shape[0])
            return values[start - first : end - first, index[1]]

        return jax.make_array_from_callback(shape, sharding, part)

    return {name: put(values) for name, values in rows.items()}


def check_divisible(
    config: LlamaConfig,
    sizes: dict[str, int],
    batch_size: int,
    length: int,
    accumulate: int = 1,
    rules: ShardingRules = DEFAULT_RULES,
) -> None:
    """Checks, before anything compiles, that the model and the batch divide over the mesh.

    Raises:
      AgentBankError: with the two numbers, and what to change.
    """
    rows = rules.parts("batch", sizes) * accumulate
    if batch_size % rows:
        raise AgentBankError(
            f"A batch of {batch_size} rows does not divide over {rules.describe('batch', sizes) or 'one part'} and "
            f"{accumulate} micro-batch(es): choose a multiple of {rows}."
        )
    _check_divides("row length", length, "length", sizes, rules)
    check_model_divisible(config, sizes, rules)


def check_model_divisible(config: LlamaConfig, sizes: dict[str, int], rules: ShardingRules = DEFAULT_RULES) -> None:
    """Checks that the parameters divide over the mesh, and over each of its axes once.

    Raises:
      AgentBankError: with the numbers or the names, and what to change.
    """
    for name, axes in LOGICAL_AXES.items():
        rules.check_once(name, axes)
    for axis, name in _SIZES.items():
        _check_divides(name, getattr(config, name), axis, sizes, rules)


def _check_divides(what: str, number: int, axis: str, sizes: dict[str, int], rules: ShardingRules) -> None:
    parts = rules.parts(axis, sizes)
    if number % parts:
        raise AgentBankError(
            f"{what}={number} does not divide over the mesh axis {rules.describe(axis, sizes)}: change either, or "
            f"ShardingRules.{axis} (the remainder is {number % parts})."
        )


def bytes_per_device(
    mesh_sizes: dict[str, int], abstract: Any, rules: ShardingRules = DEFAULT_RULES, params: Any = None
) -> int:
    """Bytes of a tree on one device, under the rules (see `state_specs`); needs no devices."""
    total = 0
    specs = jax.tree.leaves(state_specs(abstract, rules, params), is_leaf=lambda leaf: isinstance(leaf, PartitionSpec))
    for leaf, spec in zip(jax.tree.leaves(abstract), specs, strict=True):
        parts = math.prod(mesh_sizes[name] for name in jax.tree.leaves(tuple(spec)))
        total += -(-leaf.size // parts) * leaf.dtype.itemsize
    return total

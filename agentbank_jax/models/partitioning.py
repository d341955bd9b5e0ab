"""Where activations lie on a mesh: rows over `data` and `fsdp`, places over `context`, heads and columns over `tensor`.

Without these constraints the compiler may shard activations as it shards parameters, and then exchanges
activations in place of parameters. Where no mesh is set (`jax.set_mesh`), nothing is done.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from agentbank_jax.errors import AgentBankError

ROWS, CONTEXT, TENSOR = ("data", "fsdp"), "context", "tensor"
"""Mesh axes of an activation's rows, of its places, and of its heads or columns."""


def set_mesh_axes() -> dict[str, int]:
    """Axes of the mesh that is set, with their sizes; empty where there is none, or one of a single device."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return {}
    return dict(mesh.shape)


def constrain(x: jax.Array, *axes: str | tuple[str, ...] | None) -> jax.Array:
    """`x` with its leading dimensions over mesh axes; those that do not divide, or are not there, stay whole."""
    sizes = set_mesh_axes()
    if not sizes:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*_dividing(x.shape, axes, sizes)))


def per_device(
    attention: Callable[..., jax.Array],
    *operands: jax.Array,
    over_context: tuple[bool, ...],
    kernel: Any = None,
    kernel_specs: Callable[[NamedSharding], Any] | None = None,
) -> jax.Array:
    """Runs a kernel that the compiler cannot divide on each device's rows, heads and queries.

    Args:
      attention: of `kernel` and the operands' parts.
      operands: arrays [B, T, heads, h], or segment ids [B, T]; the first says how the result lies.
      over_context: which operands are divided along T by `context`; the others are there whole.
      kernel: a pytree whose arrays are divided too.
      kernel_specs: tells how, given a sharding of [heads, T] in which T lies over `context`.

    Raises:
      AgentBankError: rows, places or heads do not divide over the mesh.
    """
    sizes = set_mesh_axes()
    if not sizes:
        return attention(kernel, *operands)

    def spec(x: jax.Array, divided: bool) -> PartitionSpec:
        wanted = (ROWS, CONTEXT if divided else None, *((TENSOR, None) if x.ndim == 4 else ()))
        found = _dividing(x.shape, wanted, sizes)
        for size, want, got in zip(x.shape, wanted, found, strict=True):
            parts = _parts(want, sizes)
            if parts > 1 and got is None:
                raise AgentBankError(
                    f"Attention over {size} rows, places or heads does not divide over the mesh axis {want}, which "
                    f"has {parts} parts; expected a multiple of {parts}."
                )
        return PartitionSpec(*found)

    specs = tuple(spec(x, divided) for x, divided in zip(operands, over_context, strict=True))
    along = CONTEXT if sizes.get(CONTEXT, 1) > 1 else None
    queries = NamedSharding(jax.sharding.get_abstract_mesh(), PartitionSpec(None, along))
    divided = kernel_specs(queries) if kernel_specs else PartitionSpec()
    # Kernels do not say over which axes their results vary.
    mapped = jax.shard_map(attention, in_specs=(divided, *specs), out_specs=specs[0], check_vma=False)
    return mapped(kernel, *operands)


def _parts(axis: str | tuple[str, ...] | None, sizes: dict[str, int]) -> int:
    names = () if axis is None else (axis,) if isinstance(axis, str) else axis
    return math.prod(sizes.get(name, 1) for name in names)


def _dividing(shape, axes, sizes: dict[str, int]) -> list[str | tuple[str, ...] | None]:
    found: list[str | tuple[str, ...] | None] = []
    for size, axis in zip(shape, axes, strict=False):
        names = tuple(name for name in ((axis,) if isinstance(axis, str) else axis or ()) if sizes.get(name, 1) > 1)
        found.append(names if names and size % _parts(names, sizes) == 0 else None)
    return found

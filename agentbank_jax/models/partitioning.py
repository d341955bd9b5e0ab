"""Where activations lie on a mesh, by the rules from their logical axes to those of the mesh.

Without these constraints the compiler may shard activations as it shards parameters, and then exchanges
activations in place of parameters. Where no mesh is set (`jax.set_mesh`), nothing is done.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, ShardingRules

_rules: ContextVar[ShardingRules] = ContextVar("sharding_rules", default=DEFAULT_RULES)


@contextlib.contextmanager
def set_rules(rules: ShardingRules) -> Iterator[None]:
    """The rules of every function that is traced within: for the mesh that `jax.set_mesh` sets."""
    token = _rules.set(rules)
    try:
        yield
    finally:
        _rules.reset(token)


def set_mesh_axes() -> dict[str, int]:
    """Axes of the mesh that is set, with their sizes; empty where there is none, or one of a single device."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return {}
    return dict(mesh.shape)


def parts(axis: str) -> int:
    """Into how many parts a logical axis is divided on the mesh that is set."""
    return _rules.get().parts(axis, set_mesh_axes())


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """`x` with its leading dimensions divided as their logical axes are.

    Those that do not divide stay whole, and so do those that lie over a mesh axis of a dimension before them.
    """
    sizes, rules = set_mesh_axes(), _rules.get()
    if not sizes:
        return x
    taken: set[str] = set()
    divided: list[str | None] = []
    for size, axis in zip(x.shape, axes, strict=False):
        names = rules.mesh_axes(axis)
        divides = size % rules.parts(axis, sizes) == 0 and taken.isdisjoint(names)
        divided.append(axis if divides else None)
        if divides:
            taken.update(names)
    return jax.lax.with_sharding_constraint(x, rules.spec(divided))


def per_device(
    attention: Callable[..., jax.Array],
    *operands: jax.Array,
    over_length: tuple[bool, ...],
    kernel: Any = None,
    kernel_specs: Callable[[NamedSharding], Any] | None = None,
) -> jax.Array:
    """Runs a kernel that the compiler cannot divide on each device's rows, heads and queries.

    Args:
      attention: of `kernel` and the operands' parts.
      operands: queries, keys and values [B, T, heads, h], then integers [B, T]; the result lies as the queries do.
      over_length: which operands are divided along T; the others are there whole.
      kernel: a pytree whose arrays are divided too.
      kernel_specs: tells how, given a sharding of [heads, T] in which T is divided.

    Raises:
      AgentBankError: rows, places or heads do not divide over the mesh.
    """
    sizes, rules = set_mesh_axes(), _rules.get()
    if not sizes:
        return attention(kernel, *operands)
    heads = operands[0].shape[2]
    if rules.mesh_axes("heads") != rules.mesh_axes("kv_heads"):
        # A device would not have the keys of its queries: each query head gets its own.
        operands = tuple(jnp.repeat(x, heads // x.shape[2], axis=2) if x.ndim == 4 else x for x in operands)

    def spec(x: jax.Array, divided: bool) -> PartitionSpec:
        axes = ("batch", "length" if divided else None, *(("heads", None) if x.ndim == 4 else ()))
        for size, axis in zip(x.shape, axes, strict=True):
            if axis and size % rules.parts(axis, sizes):
                raise AgentBankError(
                    f"Attention over {size} rows, places or heads does not divide over the mesh axis "
                    f"{rules.describe(axis, sizes)}; expected a multiple of {rules.parts(axis, sizes)}."
                )
        return rules.spec(axes)

    specs = tuple(spec(x, divided) for x, divided in zip(operands, over_length, strict=True))
    along = "length" if rules.parts("length", sizes) > 1 else None
    queries = NamedSharding(jax.sharding.get_abstract_mesh(), rules.spec((None, along)))
    divided = kernel_specs(queries) if kernel_specs else PartitionSpec()
    # Kernels do not say over which axes their results vary.
    mapped = jax.shard_map(attention, in_specs=(divided, *specs), out_specs=specs[0], check_vma=False)
    return mapped(kernel, *operands)

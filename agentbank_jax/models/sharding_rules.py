"""Names for the dimensions of arrays, and rules from those names to the axes of a mesh."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

from jax.sharding import PartitionSpec

from agentbank_jax.errors import AgentBankError, did_you_mean

MESH_AXES = ("data", "fsdp", "context", "tensor")

MeshAxes = str | tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class ShardingRules:
    """Over which axes of the mesh each logical axis is divided: a name, several names, or None.

    Example:

      ShardingRules(kv_heads=None).spec(("embed", "kv_heads"))  # PartitionSpec("fsdp", None)

    Fields:
      batch: rows of a batch.
      length: places of a row.
      layers: the stacked layers.
      embed: the model's width, in parameters; in activations it stays whole.
      norm: the scales of the norms.
      rank: the inner dimension of adapters.
      heads: query heads.
      kv_heads: key and value heads. None where `heads` has more parts than there are key heads: each device then
        makes all keys and values.
      mlp: columns of the feed-forward block.
      vocab: tokens of the embedding and of the output projection.
    """

    batch: MeshAxes = ("data", "fsdp")
    length: MeshAxes = "context"
    layers: MeshAxes = None
    embed: MeshAxes = "fsdp"
    norm: MeshAxes = None
    rank: MeshAxes = None
    heads: MeshAxes = "tensor"
    kv_heads: MeshAxes = "tensor"
    mlp: MeshAxes = "tensor"
    vocab: MeshAxes = "tensor"

    def __post_init__(self) -> None:
        for field in fields(self):
            for name in self.mesh_axes(field.name):
                if name not in MESH_AXES:
                    raise AgentBankError(
                        f"ShardingRules.{field.name}={getattr(self, field.name)!r}: a mesh has no axis {name!r}."
                        + did_you_mean(name, MESH_AXES)
                    )
        for last in ("heads", "kv_heads", "mlp"):
            self.check_once("activations", ("batch", "length", last))

    def check_once(self, what: str, axes: Iterable[str]) -> None:
        """Checks that an array with these logical axes is divided over no mesh axis twice.

        Raises:
          AgentBankError: it is; the message names the array, the mesh axis and the two logical axes.
        """
        taken: dict[str, str] = {}
        for axis in axes:
            for name in self.mesh_axes(axis):
                if name in taken:
                    raise AgentBankError(
                        f"ShardingRules.{axis}={getattr(self, axis)!r}: {what} would be divided over the mesh axis "
                        f"{name!r} twice, because {taken[name]}={getattr(self, taken[name])!r}; expected another axis "
                        "for one of them, or None."
                    )
                taken[name] = axis

    def mesh_axes(self, axis: str | None) -> tuple[str, ...]:
        """The mesh axes of a logical axis; none for None."""
        value = getattr(self, axis) if axis else None
        return () if value is None else (value,) if isinstance(value, str) else tuple(value)

    def spec(self, axes: Iterable[str | None]) -> PartitionSpec:
        """The partition of an array with these logical axes."""
        found = (self.mesh_axes(axis) for axis in axes)
        return PartitionSpec(*(names if len(names) > 1 else names[0] if names else None for names in found))

    def parts(self, axis: str | None, sizes: dict[str, int]) -> int:
        """Into how many parts a logical axis is divided on a mesh of these sizes."""
        return math.prod(sizes.get(name, 1) for name in self.mesh_axes(axis))

    def describe(self, axis: str, sizes: dict[str, int]) -> str:
        """`fsdp=4`, or `data=2 x fsdp=4`."""
        return " x ".join(f"{name}={sizes.get(name, 1)}" for name in self.mesh_axes(axis))


DEFAULT_RULES = ShardingRules()
"""Rows over data and fsdp, places over context, parameters over fsdp and tensor."""

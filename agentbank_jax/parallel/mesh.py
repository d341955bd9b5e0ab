"""The mesh of devices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, MESH_AXES, ShardingRules


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How many devices of a slice lie along each axis; one of them may be -1, which takes the devices that are left.

    A slice is what fast links (ICI) join: a TPU slice, or a host with its GPUs. Between slices is a slow network
    (DCN), which only the axes `data` and `fsdp` may cross: along an axis lie `dcn_<axis> x <axis>` devices.

    Fields:
      data: copies of the model, each with its part of the batch.
      fsdp: the batch is split and the parameters too (ZeRO-3, Rajbhandari et al., 2020).
      context: the places of a row are split, for long rows.
      tensor: heads and feed-forward columns are split (Megatron, Shoeybi et al., 2019).
      dcn_data: slices along `data`: they exchange gradients, once a step.
      dcn_fsdp: slices along `fsdp`: they exchange parameters too, in every layer.
      rules: which dimensions are split over which axes.
    """

    data: int = 1
    fsdp: int = -1
    context: int = 1
    tensor: int = 1
    dcn_data: int = 1
    dcn_fsdp: int = 1
    rules: ShardingRules = DEFAULT_RULES

    def __post_init__(self) -> None:
        for name, size in self.slice_axes.items():
            if size < 1 and size != -1:
                raise AgentBankError(f"MeshConfig.{name}={size}: expected at least 1, or -1 for the devices left.")
        for name in ("dcn_data", "dcn_fsdp"):
            if getattr(self, name) < 1:
                raise AgentBankError(
                    f"MeshConfig.{name}={getattr(self, name)}: expected at least 1, a number of slices."
                )
        if list(self.slice_axes.values()).count(-1) > 1:
            raise AgentBankError(f"MeshConfig{tuple(self.slice_axes.values())}: only one axis may be -1.")

    @property
    def slice_axes(self) -> dict[str, int]:
        """Devices of a slice along each axis, as configured."""
        return {name: getattr(self, name) for name in MESH_AXES}

    @property
    def slices(self) -> int:
        """How many slices the mesh is made of."""
        return self.dcn_data * self.dcn_fsdp

    @property
    def num_devices(self) -> int | None:
        """How many devices the mesh needs; None where an axis takes what is left."""
        sizes = self.slice_axes.values()
        return None if -1 in sizes else self.slices * math.prod(sizes)

    def sizes(self, num_devices: int) -> dict[str, int]:
        """Size of each axis on `num_devices` devices, over all slices.

        Raises:
          AgentBankError: the axes do not multiply to the number of devices.
        """
        sizes = self.slice_axes
        known = self.slices * math.prod(size for size in sizes.values() if size != -1)
        if -1 in sizes.values() and num_devices % known == 0:
            sizes = {name: num_devices // known if size == -1 else size for name, size in sizes.items()}
        if self.slices * math.prod(sizes.values()) != num_devices:
            shape = " x ".join(f"{name}={size}" for name, size in sizes.items())
            slices = f" in each of {self.slices} slices" if self.slices > 1 else ""
            remedy = "set one axis to -1 to take what is left"
            if -1 in sizes.values():
                remedy = f"the axes that are set take {known}, which does not divide it"
            raise AgentBankError(
                f"The mesh {shape}{slices} does not match the {num_devices} device(s) here: the product must be "
                f"{num_devices}; {remedy}."
            )
        return {name: size * getattr(self, f"dcn_{name}", 1) for name, size in sizes.items()}


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over `devices` (all by default), with axes that the compiler shards automatically.

    TPUs are laid along the links of their torus, of which an axis of the mesh may take a part of one.

    Raises:
      AgentBankError: the axes do not multiply to the number of devices, or the devices lie in another number of slices.
    """
    placed = place_devices(config, list(devices) if devices is not None else jax.devices())
    return Mesh(placed, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def place_devices(config: MeshConfig, devices: list[jax.Device]) -> np.ndarray:
    """The devices in the shape of the mesh, so that those of a slice are neighbours along each axis."""
    sizes = config.sizes(len(devices))
    found = {name: {getattr(device, name, 0) for device in devices} for name in ("slice_index", "process_index")}
    if config.slices > 1:
        # Of a mesh over hosts with GPUs or CPUs a slice is a process.
        granule = next((name for name, indices in found.items() if len(indices) == config.slices), None)
        if granule is None:
            raise AgentBankError(
                f"MeshConfig.dcn_data={config.dcn_data} x dcn_fsdp={config.dcn_fsdp} is for {config.slices} slices, "
                f"but the {len(devices)} device(s) here lie in {len(found['slice_index'])} slice(s) and belong to "
                f"{len(found['process_index'])} process(es); expected {config.slices} of either."
            )
        dcn_shape = tuple(getattr(config, f"dcn_{name}", 1) for name in MESH_AXES)
        return mesh_utils.create_hybrid_device_mesh(
            tuple(size // slices for size, slices in zip(sizes.values(), dcn_shape, strict=True)),
            dcn_shape,
            devices,
            process_is_granule=granule == "process_index",
            allow_split_physical_axes=True,
        )
    if devices[0].platform == "tpu" and len(found["slice_index"]) > 1:
        slices = len(found["slice_index"])
        raise AgentBankError(
            f"The devices lie in {slices} slices, and the mesh is for one: set MeshConfig.dcn_data={slices}, and the "
            f"other axes for the {len(devices) // slices} devices of a slice."
        )
    here = jax.devices()
    shape = tuple(sizes.values())
    # Some of the devices here need not be a torus.
    if len(devices) < len(here) and set(devices) <= set(here):
        return np.asarray(devices).reshape(shape)
    return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)

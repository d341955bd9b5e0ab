"""The mesh of devices."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from agentbank_jax.errors import AgentBankError

AXES = ("data", "fsdp", "context", "tensor")


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How many devices lie along each axis; one of them may be -1, which takes the devices that are left.

    Fields:
      data: copies of the model, each with its part of the batch.
      fsdp: the batch is split and the parameters too (ZeRO-3, Rajbhandari et al., 2020).
      context: the places of a row are split, for long rows.
      tensor: heads and feed-forward columns are split (Megatron, Shoeybi et al., 2019).
    """

    data: int = 1
    fsdp: int = -1
    context: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = asdict(self)
        for name, size in sizes.items():
            if size < 1 and size != -1:
                raise AgentBankError(f"MeshConfig.{name}={size}: expected at least 1, or -1 for the devices left.")
        if list(sizes.values()).count(-1) > 1:
            raise AgentBankError(f"MeshConfig{tuple(sizes.values())}: only one axis may be -1.")

    def sizes(self, num_devices: int) -> dict[str, int]:
        """Size of each axis on `num_devices` devices.

        Raises:
          AgentBankError: the axes do not multiply to the number of devices.
        """
        sizes = asdict(self)
        known = math.prod(size for size in sizes.values() if size != -1)
        if -1 in sizes.values() and num_devices % known == 0:
            sizes = {name: num_devices // known if size == -1 else size for name, size in sizes.items()}
        if math.prod(sizes.values()) != num_devices:
            shape = " x ".join(f"{name}={size}" for name, size in sizes.items())
            raise AgentBankError(
                f"The mesh {shape} does not match the {num_devices} device(s) here: the product must be "
                f"{num_devices}; set one axis to -1 to take what is left."
            )
        return sizes


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over `devices` (all by default), with axes that the compiler shards automatically.

    TPUs are laid along the links of their torus, of which an axis of the mesh may take a part of one.
    """
    here = jax.devices()
    devices = list(devices) if devices is not None else here
    sizes = tuple(config.sizes(len(devices)).values())
    # Some of the devices here need not be a torus.
    if len(devices) < len(here) and set(devices) <= set(here):
        placed = np.asarray(devices).reshape(sizes)
    else:
        placed = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * len(AXES))

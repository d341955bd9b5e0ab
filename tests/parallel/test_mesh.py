"""Meshes: their sizes, their errors, and how devices lie on those of several slices."""

from dataclasses import dataclass

import jax
import pytest
from jax.sharding import AxisType

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh, place_devices


def test_one_axis_takes_the_devices_that_are_left():
    assert MeshConfig(data=2, fsdp=-1, tensor=2).sizes(16) == {"data": 2, "fsdp": 4, "context": 1, "tensor": 2}
    assert make_mesh(MeshConfig(), jax.devices()[:1]).shape == {"data": 1, "fsdp": 1, "context": 1, "tensor": 1}


def test_the_compiler_shards_every_axis():
    assert set(make_mesh(MeshConfig()).axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
    ("config", "devices", "message"),
    [
        ({"fsdp": 4}, 8, "data=1 x fsdp=4 x context=1 x tensor=1 does not match the 8 device"),
        ({"fsdp": -1, "tensor": 3}, 8, "does not match the 8 .* must be 8; the axes that are set take 3, which"),
        ({"data": -1, "fsdp": -1}, 8, "only one axis"),
        ({"fsdp": 0}, 8, "at least 1"),
        ({"dcn_data": 0}, 8, "MeshConfig.dcn_data=0: expected at least 1"),
        ({"dcn_fsdp": -1}, 8, "MeshConfig.dcn_fsdp=-1: expected at least 1"),
        (
            {"fsdp": 8, "dcn_data": 2},
            8,
            "fsdp=8 x context=1 x tensor=1 in each of 2 slices does not match the 8 device",
        ),
        ({"dcn_data": 3}, 8, "in each of 3 slices does not match the 8 device"),
    ],
)
def test_a_mesh_that_does_not_match_the_devices_says_so(config, devices, message):
    with pytest.raises(AgentBankError, match=message) as caught:
        MeshConfig(**config).sizes(devices)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class MadeDevice:
    """What a mesh wants to know of a device."""

    id: int
    slice_index: int = 0
    process_index: int = 0
    platform: str = "gpu"
    device_kind: str = "made"


def made_devices(slices: int, each: int, index: str) -> list[MadeDevice]:
    # Slices take turns, as no mesh wants them.
    return [MadeDevice(number, **{index: number % slices}) for number in range(slices * each)]


@pytest.mark.parametrize("index", ["slice_index", "process_index"])
def test_only_data_and_fsdp_cross_slices(index):
    config = MeshConfig(dcn_data=2, dcn_fsdp=2, data=1, fsdp=2, context=2, tensor=2)
    devices = made_devices(4, 8, index)
    assert config.sizes(32) == {"data": 2, "fsdp": 4, "context": 2, "tensor": 2}
    placed = place_devices(config, devices)
    assert placed.shape == (2, 4, 2, 2) and set(placed.flat) == set(devices)
    slices = [
        [{getattr(device, index) for device in placed[d, 2 * f : 2 * f + 2].flat} for f in (0, 1)] for d in (0, 1)
    ]
    # Each slice is one block of the mesh, and each block another slice.
    assert all(len(found) == 1 for row in slices for found in row)
    assert set().union(*(found for row in slices for found in row)) == {0, 1, 2, 3}


def test_an_axis_takes_what_is_left_of_a_slice():
    config = MeshConfig(dcn_data=2, fsdp=-1, tensor=2)
    assert config.sizes(16) == {"data": 2, "fsdp": 4, "context": 1, "tensor": 2}
    assert config.num_devices is None and MeshConfig(dcn_data=2, fsdp=4, tensor=2).num_devices == 16


def test_a_mesh_of_other_slices_than_there_are_says_so():
    with pytest.raises(
        AgentBankError, match=r"dcn_data=2 x dcn_fsdp=1 is for 2 slices, but the 8 .* 4 slice.* 1 process"
    ):
        place_devices(MeshConfig(dcn_data=2, fsdp=4), made_devices(4, 2, "slice_index"))
    tpus = [MadeDevice(number, slice_index=number // 4, platform="tpu") for number in range(8)]
    with pytest.raises(AgentBankError, match=r"lie in 2 slices.* set MeshConfig.dcn_data=2, .* 4 devices of a slice"):
        place_devices(MeshConfig(fsdp=8), tpus)

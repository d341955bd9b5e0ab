"""Names of TPU topologies, and what the TPU compiler says of them."""

import importlib.util
import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import SingleDeviceSharding

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel import topology
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.topology import TOPOLOGIES, parse_memory_report, parse_refusal, parse_topology


@given(st.sampled_from(TOPOLOGIES))
def test_both_names_of_a_slice_are_the_same_slice(slice_):
    assert parse_topology(slice_.cloud_name) == parse_topology(slice_.compiler_name) == slice_
    number = int(slice_.cloud_name.split("-")[1])
    assert number == slice_.chips * (2 if slice_.generation == "v5p" else 1)
    assert slice_.chips == math.prod(map(int, slice_.compiler_name.split(":")[1].split("x")))


@pytest.mark.parametrize(
    ("name", "compiler_name", "chips"),
    [
        ("v5e-16", "v5e:4x4", 16),
        ("v5litepod-16", "v5e:4x4", 16),
        ("v5e-64", "v5e:8x8", 64),
        ("v5p-8", "v5p:2x2x1", 4),
        ("v5p-32", "v5p:2x2x4", 16),
        ("v5p-128", "v5p:4x4x4", 64),
        ("v6e-256", "v6e:16x16", 256),
        ("v5p:2x4x8", "v5p:2x4x8", 64),  # a shape without a name of its own
    ],
)
def test_a_name_says_how_many_chips(name, compiler_name, chips):
    parsed = parse_topology(name)
    assert (parsed.compiler_name, parsed.chips) == (compiler_name, chips)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("v5p-33", "Did you mean 'v5p-32'"),
        ("v5e:4x4x1", "Did you mean 'v5e:4x4'"),
        ("h100-8", "such as v5e-16"),
        ("v5e:0x4", "v5e"),
        ("", "v5e"),
    ],
)
def test_an_unknown_name_is_refused_with_a_near_one(name, hint):
    with pytest.raises(AgentBankError, match="is no known TPU topology") as error:
        parse_topology(name)
    assert hint in str(error.value) and "\n" not in str(error.value)


def test_without_libtpu_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AgentBankError, match=r"pip install 'agentbank_jax\[topology\]'"):
        topology.topology_devices(parse_topology("v5e-16"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (74.23G) "
            "exceeds available HBM (15.75G).",
            (round(74.23 * 2**30), round(15.75 * 2**30)),
        ),
        ("XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 17.5G of 15.75G hbm. Exceeded",
         (round(17.5 * 2**30), round(15.75 * 2**30))),
        ("INTERNAL: something else", None),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_needed_and_allowed(message, expected):
    assert parse_refusal(message) == expected


def test_what_counts_of_a_memory_report_is_the_main_memory():
    spaces = "Memory Space: vmem (color=1)\nTotal bytes: 7 (7B)\n{}Memory Space: cmem (color=5)\nTotal bytes: 9 (9B)\n"
    main = "Memory Space: default (color=0)\nTotal bytes: 83034112 (79.19MiB)\n  cumulative_size;       size;\n"
    assert parse_memory_report(spaces.format(main)) == 83034112 and parse_memory_report(spaces.format("")) is None


def test_the_compiler_reports_what_it_allots():
    pytest.importorskip("libtpu")
    (chip,) = topology.topology_devices(parse_topology("v5e-1"))
    matrix = jax.ShapeDtypeStruct((8192, 8192), jnp.float32, sharding=SingleDeviceSharding(chip))
    compiled, allotted = topology.compile_for_tpu(jax.jit(lambda x: jnp.sin(x @ x) @ x).lower(matrix))
    # What is given and returned in float32, and what is made between in bfloat16, for which a product rounds it.
    assert allotted == pytest.approx((4 + 4 + 2) * 8192**2, rel=0.01)
    assert compiled.memory_analysis().argument_size_in_bytes == 8192**2 * 4


def test_the_compiler_names_its_limit():
    pytest.importorskip("libtpu")
    (chip,) = topology.topology_devices(parse_topology("v5e-1"))
    assert topology.enforced_memory(chip) == round(15.75 * 2**30)  # of 16 GiB


def test_devices_of_two_slices_are_a_block_of_the_mesh_each():
    pytest.importorskip("libtpu")
    devices = topology.topology_devices(parse_topology("v5e-4"), slices=2)
    mesh = make_mesh(MeshConfig(dcn_data=2, fsdp=2, tensor=2), devices)
    assert mesh.shape == {"data": 2, "fsdp": 2, "context": 1, "tensor": 2}
    assert [{device.slice_index for device in half.flat} for half in mesh.devices] == [{0}, {1}]
    with pytest.raises(AgentBankError, match=r"lie in 2 slices.* set MeshConfig.dcn_data=2"):
        make_mesh(MeshConfig(fsdp=8), devices)


def test_a_shape_that_the_compiler_refuses_is_one_line():
    pytest.importorskip("libtpu")
    with pytest.raises(AgentBankError, match="the TPU compiler refuses it") as error:
        topology.topology_devices(parse_topology("v5e:3x5"))
    assert "v5e:4x4" in str(error.value) and "\n" not in str(error.value)

"""Meshes: their sizes, their errors, and where parameters lie on them."""

import jax
import pytest
from jax.sharding import PartitionSpec

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import LOGICAL_AXES, partition_spec, path_name


def test_one_axis_takes_the_devices_that_are_left():
    assert MeshConfig(data=2, fsdp=-1, tensor=2).sizes(16) == {"data": 2, "fsdp": 4, "context": 1, "tensor": 2}
    assert make_mesh(MeshConfig(), jax.devices()[:1]).shape == {"data": 1, "fsdp": 1, "context": 1, "tensor": 1}


@pytest.mark.parametrize(
    ("config", "devices", "message"),
    [
        ({"fsdp": 4}, 8, "data=1 x fsdp=4 x context=1 x tensor=1 does not match the 8 device"),
        ({"fsdp": -1, "tensor": 3}, 8, "fsdp=-1 x context=1 x tensor=3 does not match the 8 device"),
        ({"data": -1, "fsdp": -1}, 8, "only one axis"),
        ({"fsdp": 0}, 8, "at least 1"),
    ],
)
def test_a_mesh_that_does_not_match_the_devices_says_so(config, devices, message):
    with pytest.raises(AgentBankError, match=message):
        MeshConfig(**config).sizes(devices)


@pytest.mark.parametrize("changes", [{"tie_word_embeddings": True}, {}, {"family": "qwen2"}])
def test_every_parameter_has_logical_axes_of_its_rank(changes):
    config = LlamaConfig(vocab_size=8, hidden_size=4, intermediate_size=4, num_layers=1, num_heads=1, **changes)
    for path, leaf in jax.tree_util.tree_leaves_with_path(forward.abstract_params(config)):
        assert len(LOGICAL_AXES[path_name(path)]) == leaf.ndim


def test_optimizer_moments_lie_where_their_parameters_do():
    path = tuple(jax.tree_util.DictKey(k) for k in ("mu", "layers", "mlp", "up_proj", "kernel"))
    assert partition_spec(path) == PartitionSpec(None, "fsdp", "tensor")

"""Meshes: their sizes, their errors, and that they do not change the numbers."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.sharding import PartitionSpec

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import LOGICAL_AXES, partition_spec, path_name

ROOT = Path(__file__).parents[2]


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


MESHES = """
import jax, numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, state_shardings
from agentbank_jax.training.state import abstract_state, make_init
from agentbank_jax.training.step import make_train_step
from tests.training.made_batches import MadeBatches

config = LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=32, num_layers=2, num_heads=4, num_kv_heads=2)
sgd = optax.sgd(1.0)
batch = MadeBatches(32, batch_size=16).batch_at(0)

def one_step(mesh_config, devices, accumulate=1):
    mesh = make_mesh(mesh_config, devices)
    shardings = state_shardings(mesh, abstract_state(config, sgd))
    step = make_train_step(config, sgd, lambda _: 1.0, accumulate=accumulate)
    with jax.set_mesh(mesh):
        state = jax.jit(make_init(config, sgd), out_shardings=shardings)(np.int32(0))
        step = jax.jit(step, in_shardings=(shardings, batch_sharding(mesh)), donate_argnums=0,
                       out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())))
        state, metrics = step(state, jax.device_put(batch, batch_sharding(mesh)))
    return jax.device_get(state.params), float(metrics["loss"])

assert jax.device_count() == 8
params, loss = one_step(MeshConfig(fsdp=1), jax.devices()[:1])
for mesh_config, accumulate in (
    (MeshConfig(fsdp=8), 1), (MeshConfig(fsdp=4, tensor=2), 1), (MeshConfig(data=2, fsdp=2, tensor=2), 2),
    (MeshConfig(fsdp=2, context=4), 1),
):
    other_params, other_loss = one_step(mesh_config, jax.devices(), accumulate)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), other_params, params)
print("equal")
"""


def test_a_step_on_8_devices_equals_one_on_1_device():
    """With SGD, whose step is the gradient: Adam would amplify rounding."""
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", MESHES], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr

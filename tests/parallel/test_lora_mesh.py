"""Adapters on a mesh: the numbers of one device."""

import os
import subprocess
import sys
from pathlib import Path

import jax

from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.parallel.sharding import LOGICAL_AXES, path_name

ROOT = Path(__file__).parents[2]


def test_every_adapter_has_logical_axes_of_its_rank_that_are_its_kernels():
    config = LlamaConfig(
        vocab_size=8, hidden_size=4, intermediate_size=4, num_layers=1, num_heads=1,
        lora=LoraConfig(projections=".*_proj", rank=1),
    )  # fmt: skip
    for path, leaf in jax.tree_util.tree_leaves_with_path(forward.abstract_params(config)):
        assert len(LOGICAL_AXES[path_name(path)]) == leaf.ndim
    assert LOGICAL_AXES["layers/mlp/down_proj/lora/a"] == ("layers", "mlp", "rank")
    assert LOGICAL_AXES["layers/mlp/down_proj/lora/b"] == ("layers", "rank", "embed")


MESHES = """
import jax, numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec
from agentbank_jax.models import forward, lora
from agentbank_jax.models.fingerprint import fingerprint
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, state_shardings
from agentbank_jax.training.state import TrainState, abstract_state
from agentbank_jax.training.step import make_train_step
from tests.training.made_batches import MadeBatches

# Of the two kinds of kernels, [embed, tensor] and [tensor, embed], one each.
config = LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=32, num_layers=1, num_heads=4, num_kv_heads=2,
                     lora=LoraConfig(projections="o_proj|up_proj", rank=4, alpha=8.0, dropout=0.25))
sgd = optax.sgd(1.0)
batch = MadeBatches(32, batch_size=16).batch_at(0)
adapters, base = lora.split(forward.init(config, 0))
# B is not zero: A would have no gradient.
adapters = jax.tree.map(lambda leaf: leaf + 0.1 * np.sin(np.arange(leaf.size)).reshape(leaf.shape), adapters)
adapters, base = jax.device_get((adapters, base))

def one_step(mesh_config, devices):
    mesh = make_mesh(mesh_config, devices)
    shardings = state_shardings(mesh, abstract_state(config, sgd))
    frozen_shardings = state_shardings(mesh, base)
    step = make_train_step(config, sgd, lambda _: 1.0, seed=7)
    with jax.set_mesh(mesh):
        state = TrainState(np.int32(0), adapters, sgd.init(adapters))
        frozen = jax.device_put(base, frozen_shardings)
        name = fingerprint(frozen)
        step = jax.jit(step, in_shardings=(shardings, batch_sharding(mesh), frozen_shardings), donate_argnums=0,
                       out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())))
        state, metrics = step(jax.device_put(state, shardings), jax.device_put(batch, batch_sharding(mesh)), frozen)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(frozen), base)
    return jax.tree.map(np.subtract, adapters, jax.device_get(state.params)), float(metrics["loss"]), name

assert jax.device_count() == 8
grads, loss, name = one_step(MeshConfig(fsdp=1), jax.devices()[:1])
for mesh_config in (
    MeshConfig(fsdp=8), MeshConfig(fsdp=4, tensor=2), MeshConfig(data=2, fsdp=2, tensor=2),
    MeshConfig(fsdp=2, context=4),
):
    other_grads, other_loss, other_name = one_step(mesh_config, jax.devices())
    np.testing.assert_allclose(other_loss, loss, rtol=1e-5)
    assert other_name == name
    for grad, other in zip(jax.tree.leaves(grads), jax.tree.leaves(other_grads), strict=True):
        assert 0 < np.linalg.norm(grad) and np.linalg.norm(other - grad) <= 1e-5 * np.linalg.norm(grad)
print("equal")
"""


def test_a_step_of_adapters_with_dropout_on_8_devices_equals_one_on_1_device():
    """Loss and gradients, with SGD; the base stays as it was, and has the same fingerprint however it lies."""
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", MESHES], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr

"""Whole steps of each optimizer, and of micro-batches, on a mesh of 8 host devices, compared with one device.

python -m tests.parallel.run_optimizers

A float32 model would hide a difference in its rounding, which a sign (Lion) or a small second moment (Adam) makes
large. So the optimizers' steps are in float64, with a loss that is made up: of every parameter, and of tokens of
uneven weight. Prints one line of JSON: for each case the largest difference of any parameter and state, each tensor's
as a share of its largest value.
"""

import json
import os
from dataclasses import replace
from unittest import mock

if __name__ == "__main__":
    # Before JAX finds its devices. Programs that run once had better be compiled soon than be fast.
    FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": FLAGS}

import jax
import jax.numpy as jnp
import numpy as np
import optax

from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.models.partitioning import set_rules
from agentbank_jax.models.sharding_rules import DEFAULT_RULES
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, path_name, state_shardings
from agentbank_jax.training import step as step_module
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.state import TrainState, abstract_state, make_init
from tests.parallel.run_meshes import keep_gradients
from tests.training.made_batches import MadeBatches

CONFIG = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_layers=2, num_heads=4, num_kv_heads=2)
ADAPTED = replace(CONFIG, lora=LoraConfig(projections="q_proj|down_proj", rank=8))
MESH = MeshConfig(fsdp=4, tensor=2)
STEPS = 2

OPTIMIZERS = {
    "adamw": (CONFIG, OptimizerConfig(learning_rate=0.1, weight_decay=0.1)),
    "muon": (CONFIG, OptimizerConfig(name="muon", learning_rate=0.1, weight_decay=0.1)),
    "lion": (CONFIG, OptimizerConfig(name="lion", learning_rate=0.1, weight_decay=0.1)),
    "adafactor": (
        CONFIG,
        OptimizerConfig(name="adafactor", learning_rate=0.1, weight_decay=0.1, min_dim_size_to_factor=8, beta1=0.9),
    ),
    "adafactor, adapters": (ADAPTED, OptimizerConfig(name="adafactor", learning_rate=0.1, min_dim_size_to_factor=8)),
}

# Micro-batches: their number, and the mesh.
ACCUMULATED = {
    "4 micro-batches": (4, MeshConfig(fsdp=1)),
    "data=4, 2 micro-batches": (2, MeshConfig(data=4, fsdp=1)),
    "data=2 x fsdp=2 x tensor=2, 4 micro-batches": (4, MeshConfig(data=2, fsdp=2, tensor=2)),
}


def made_loss(config, params, batch, capacity=None, *, dropout_key=None):
    """A sum over tokens of weight x a function of the token and of every parameter, in the parameters' type."""
    leaves = jax.tree.leaves(params)
    waves = [jnp.cos((1.0 + n) * jnp.arange(leaf.size)).reshape(leaf.shape) for n, leaf in enumerate(leaves)]
    first = sum(jnp.sum(jnp.sin(3.0 * leaf + wave)) for leaf, wave in zip(leaves, waves, strict=True))
    second = sum(jnp.sum(leaf**2 * wave) for leaf, wave in zip(leaves, waves, strict=True))
    return jnp.sum(batch["loss_weights"] * (first + jnp.sin(batch["tokens"] * 1.0) * second))


def uneven_batch() -> dict[str, np.ndarray]:
    """Rows of many trained tokens, of one, and of none: whole shards and whole micro-batches have none."""
    batch = MadeBatches(CONFIG.vocab_size, batch_size=16).batch_at(0)
    keep = np.zeros((16, batch["tokens"].shape[1]), np.float32)
    keep[0] = 1  # as they are
    keep[5, :9] = 1
    keep[13, 20:] = 1
    batch["loss_weights"] = batch["loss_weights"] * keep
    return batch


def steps(config: LlamaConfig, optimizer_config: OptimizerConfig, mesh_config: MeshConfig, devices) -> TrainState:
    """The state after `STEPS` steps in float64."""
    mesh = make_mesh(mesh_config, devices)
    optimizer, schedule = make_optimizer(optimizer_config, 10), learning_rate_schedule(optimizer_config, 10)
    params = make_init(config, optax.identity())(np.int32(0)).params
    # One parameter of each kind, whose programs compile sooner.
    for projection in ("k_proj", "v_proj", "o_proj"):
        params["layers"]["self_attn"].pop(projection, None)
    params["layers"]["mlp"].pop("gate_proj", None)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * np.sin(np.arange(leaf.size)).reshape(leaf.shape), params)

    def init(params):
        return TrainState(jnp.int32(0), params, optimizer.init(params))

    shardings = state_shardings(mesh, jax.eval_shape(init, params))
    step = step_module.make_train_step(config, optimizer, schedule)
    with jax.set_mesh(mesh), set_rules(DEFAULT_RULES), mock.patch.object(step_module, "summed_loss", made_loss):
        state = jax.device_put(init(params), shardings)
        rows = batch_sharding(mesh)
        program = jax.jit(step, in_shardings=(shardings, rows), out_shardings=(shardings, None), donate_argnums=0)
        batches = MadeBatches(CONFIG.vocab_size, batch_size=16)
        for number in range(STEPS):
            state, _ = program(state, jax.device_put(batches.batch_at(number), rows))
    for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(shardings), strict=True):
        assert leaf.sharding.is_equivalent_to(wanted, leaf.ndim)
    return jax.device_get(state)


def gradients(accumulate: int, mesh_config: MeshConfig, devices) -> dict:
    """Loss and gradient of the model itself, in float32, over the uneven batch."""
    mesh, optimizer = make_mesh(mesh_config, devices), keep_gradients()
    config = replace(CONFIG, num_layers=1)
    shardings = state_shardings(mesh, abstract_state(config, optimizer))
    step = step_module.make_train_step(config, optimizer, lambda _: 1.0, accumulate=accumulate)
    with jax.set_mesh(mesh), set_rules(DEFAULT_RULES):
        state = jax.jit(make_init(config, optimizer), out_shardings=shardings)(np.int32(0))
        program = jax.jit(step, out_shardings=(shardings, None))
        state, metrics = program(state, jax.device_put(uneven_batch(), batch_sharding(mesh)))
    return jax.device_get({"grads": state.opt_state, **metrics})


def largest_difference(got, want) -> tuple[float, str]:
    """As a share of each tensor's largest value, with the tensor's name."""
    differences = {
        path_name(path): float(np.max(np.abs(leaf - other), initial=0) / max(np.max(np.abs(other)), 1e-30))
        for (path, leaf), other in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want), strict=True)
        if np.issubdtype(leaf.dtype, np.floating)
    }
    worst = max(differences, key=differences.__getitem__)
    return differences[worst], worst


def main() -> None:
    assert jax.device_count() == 8
    one = jax.devices()[:1]
    found = {"accumulated": {}, "optimizers": {}}
    want = gradients(1, MeshConfig(fsdp=1), one)
    for name, (accumulate, mesh) in ACCUMULATED.items():
        devices = jax.devices()[: mesh.num_devices]
        found["accumulated"][name] = largest_difference(gradients(accumulate, mesh, devices), want)
    with jax.enable_x64(True):
        for name, configs in OPTIMIZERS.items():
            want = steps(*configs, MeshConfig(fsdp=1), one)
            found["optimizers"][name] = largest_difference(steps(*configs, MESH, jax.devices()), want)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

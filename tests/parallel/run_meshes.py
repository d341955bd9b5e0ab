"""Steps on meshes of 8 host devices, compared with the step on one device.

python -m tests.parallel.run_meshes

Prints one line of JSON: for each case of `CASES` the relative difference of the loss, and the largest of any
gradient, each tensor's as a share of its largest value, with the tensor's name; how a training run on one of
the meshes ended, and one that went on with another mesh; and what a device sends for the loss in one chunk and in 6.
"""

import functools
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from unittest import mock

if __name__ == "__main__":
    # Before JAX finds its devices. Programs that run once had better be compiled soon than be fast.
    FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": FLAGS}

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding

from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.partitioning import set_rules
from agentbank_jax.models.sharding_rules import ShardingRules
from agentbank_jax.parallel.hlo import read_traffic
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, path_name, state_shardings
from agentbank_jax.training import step as step_module
from agentbank_jax.training.cross_entropy import summed_cross_entropy
from agentbank_jax.training.loop import train
from agentbank_jax.training.loss import summed_loss
from agentbank_jax.training.optimizer import OptimizerConfig
from agentbank_jax.training.state import abstract_state, make_init
from agentbank_jax.training.train_config import TrainConfig
from tests.training.made_batches import MadeBatches

CONFIG = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_layers=2, num_heads=4, num_kv_heads=2)

# Two blocks of queries of the `xla` backend, and rows of many segments with padding.
BATCHES = MadeBatches(CONFIG.vocab_size, batch_size=16, length=192)

# Each device has 16 x 192 x 64 / 8 logits: 6 chunks of them.
CHUNKED = 4096


@dataclass(frozen=True, kw_only=True)
class Case:
    """A step: its mesh, and how it computes."""

    mesh: MeshConfig
    scan_layers: bool = False
    remat: str = "none"
    chunked: bool = False
    accumulate: int = 1


CASES = {
    "fsdp=8, unrolled": Case(mesh=MeshConfig(fsdp=8)),
    "fsdp=8, scanned, full": Case(mesh=MeshConfig(fsdp=8), scan_layers=True, remat="full"),
    "fsdp=4 x tensor=2, unrolled, chunked": Case(mesh=MeshConfig(fsdp=4, tensor=2), chunked=True),
    "fsdp=4 x tensor=2, scanned, minimal": Case(mesh=MeshConfig(fsdp=4, tensor=2), scan_layers=True, remat="minimal"),
    "data=2 x fsdp=2 x tensor=2, unrolled, accumulated": Case(mesh=MeshConfig(data=2, fsdp=2, tensor=2), accumulate=2),
    "data=2 x fsdp=2 x tensor=2, scanned, full, chunked": Case(
        mesh=MeshConfig(data=2, fsdp=2, tensor=2), scan_layers=True, remat="full", chunked=True
    ),
    "fsdp=2 x context=4, unrolled": Case(mesh=MeshConfig(fsdp=2, context=4)),
    "fsdp=2 x context=4, scanned, minimal, chunked": Case(
        mesh=MeshConfig(fsdp=2, context=4), scan_layers=True, remat="minimal", chunked=True
    ),
    # Fewer key heads than parts, and embeddings over all devices.
    "data=2 x tensor=4, other rules": Case(
        mesh=MeshConfig(data=2, fsdp=1, tensor=4, rules=ShardingRules(kv_heads=None, embed="data")), scan_layers=True
    ),
    # Tokens and rows over the same devices.
    "data=2 x fsdp=4, vocabulary over data, chunked": Case(
        mesh=MeshConfig(data=2, fsdp=4, rules=ShardingRules(vocab="data")), scan_layers=True, chunked=True
    ),
}


def keep_gradients() -> optax.GradientTransformation:
    """An optimizer that changes nothing, and whose state is the gradient: Adam would amplify rounding."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params),
        lambda grads, state, params: (jax.tree.map(jnp.zeros_like, grads), grads),
    )


def outcome(case: Case, devices):
    """Loss per trained token, and its gradient, of a case's step on `devices`."""
    config = replace(CONFIG, scan_layers=case.scan_layers, remat=case.remat)
    mesh, rules, optimizer = make_mesh(case.mesh, devices), case.mesh.rules, keep_gradients()
    shardings = state_shardings(mesh, abstract_state(config, optimizer), rules)
    state = jax.device_put(jax.jit(make_init(config, optimizer))(np.int32(0)), shardings)
    loss = functools.partial(summed_loss, logits_at_once=CHUNKED) if case.chunked else summed_loss
    step = step_module.make_train_step(config, optimizer, lambda _: 0.0, accumulate=case.accumulate)
    with jax.set_mesh(mesh), set_rules(rules), mock.patch.object(step_module, "summed_loss", loss):
        batch = jax.device_put(BATCHES.batch_at(0), batch_sharding(mesh, rules))
        state, metrics = jax.jit(step, out_shardings=(shardings, None))(state, batch)
    return jax.device_get((metrics["loss"], state.opt_state))


def _train(folder: str, mesh: MeshConfig, steps: int) -> dict:
    """The loss of a run's last step, the tokens of this start, and how its keys' kernels lie at its end."""
    result = train(
        CONFIG,
        TrainConfig(steps=steps, batch_size=BATCHES.batch_size, log_every=1, checkpoint_every=2, compilation_cache=""),
        OptimizerConfig(),
        mesh,
        BATCHES,
        folder,
        facts={},
    )
    kernel = result.params["layers"]["self_attn"]["k_proj"]["kernel"]
    return {
        "loss": result.metrics["loss"],
        "tokens": result.tokens,
        "kernel": [*kernel.sharding.spec],
        "part": [*kernel.sharding.shard_shape(kernel.shape)],
    }


def trained(mesh: MeshConfig) -> dict:
    """How a short run on a mesh ended."""
    with tempfile.TemporaryDirectory() as folder:
        return _train(folder, mesh, steps=2)


def gone_on(before: MeshConfig, after: MeshConfig) -> dict:
    """How three steps on one mesh ended, and two on it and the third on another."""
    with tempfile.TemporaryDirectory() as folder:
        whole = _train(folder, before, steps=3)
        shutil.rmtree(f"{folder}/checkpoints/3")
        return {"whole": whole, "gone_on": _train(folder, after, steps=3)}


def sent_by_loss(chunks: int) -> int:
    """Bytes that a device sends for the loss and its gradients, made in so many chunks."""
    config = MeshConfig(fsdp=4, tensor=2)
    mesh, width, vocab_size = make_mesh(config), CONFIG.hidden_size, CONFIG.vocab_size
    rows = batch_sharding(mesh)
    tokens = (BATCHES.batch_size, BATCHES.length)

    def loss(hidden_BTD, kernel, targets_BT, weights_BT):
        at_once = BATCHES.batch_size * BATCHES.length * vocab_size // (mesh.size * chunks)
        return summed_cross_entropy(hidden_BTD, kernel, targets_BT, weights_BT, tied=False, logits_at_once=at_once)

    kernel = NamedSharding(mesh, config.rules.spec(("embed", "vocab")))
    arguments = (
        jax.ShapeDtypeStruct((*tokens, width), jnp.float32, sharding=rows),
        jax.ShapeDtypeStruct((width, vocab_size), jnp.float32, sharding=kernel),
        jax.ShapeDtypeStruct(tokens, jnp.int32, sharding=rows),
        jax.ShapeDtypeStruct(tokens, jnp.float32, sharding=rows),
    )
    with jax.set_mesh(mesh):
        gradients = jax.jit(jax.grad(loss, argnums=(0, 1)), out_shardings=(rows, kernel))
        return sum(read_traffic(gradients.lower(*arguments).compile().as_text()).collective_bytes.values())


def main() -> None:
    assert jax.device_count() == 8
    want_loss, want_grads = outcome(Case(mesh=MeshConfig(fsdp=1)), jax.devices()[:1])
    found = {}
    for name, case in CASES.items():
        loss, grads = outcome(case, jax.devices())
        differences = {
            path_name(path): float(np.max(np.abs(got - want)) / np.max(np.abs(want)))
            for (path, got), want in zip(
                jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(want_grads), strict=True
            )
        }
        worst = max(differences, key=differences.__getitem__)
        found[name] = {"loss": abs(float(loss / want_loss - 1)), "tensor": worst, "gradient": differences[worst]}
    training = trained(CASES["data=2 x tensor=4, other rules"].mesh)
    other_mesh = gone_on(MeshConfig(data=8, fsdp=1), MeshConfig(fsdp=8))
    print(
        json.dumps(
            {"cases": found, "training": training, "gone_on": other_mesh, "sent": {n: sent_by_loss(n) for n in (1, 6)}}
        )
    )


if __name__ == "__main__":
    main()

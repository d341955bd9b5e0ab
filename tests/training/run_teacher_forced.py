"""Teacher-forced figures on meshes of 2 host devices, and on one device.

python -m tests.training.run_teacher_forced [CASE PROCESS PORT]

Prints one line of JSON: the figures of each of `CASES`, or those of one of them as seen by one of two processes, of a
device each.
"""

import json
import os
import sys
from dataclasses import replace

if __name__ == "__main__":
    # Before JAX finds its devices. Programs that run once had better be compiled soon than be fast.
    FLAGS = f"--xla_force_host_platform_device_count={1 if sys.argv[1:] else 2} --xla_backend_optimization_level=0"
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": FLAGS}

import jax
import numpy as np

from agentbank_jax.data.held_out import HeldOutBatches
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.models.partitioning import set_rules
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import state_shardings
from agentbank_jax.training.teacher_forced import TeacherForced
from tests.data.made_cache import made_cache

PLAIN = LlamaConfig(
    vocab_size=64, hidden_size=16, intermediate_size=32, num_layers=1, num_heads=2, initializer_range=0.3
)
ADAPTED = replace(PLAIN, lora=LoraConfig(projections=".*_proj", rank=2, dropout=0.5))
CACHE = made_cache([np.arange(4, 24), np.arange(8, 40, 3)], [1.0, 1.0], 48)
CASES = {
    "one": (ADAPTED, MeshConfig(fsdp=1)),
    "data": (ADAPTED, MeshConfig(data=2, fsdp=1)),
    "fsdp": (ADAPTED, MeshConfig(fsdp=2)),
    "tensor": (ADAPTED, MeshConfig(fsdp=1, tensor=2)),
    "context": (ADAPTED, MeshConfig(fsdp=1, context=2)),
}


def held_out(length: int = 48) -> HeldOutBatches:
    """Rows of several trajectories; of a batch size that leaves the last batch with empty rows."""
    return HeldOutBatches(CACHE, batch_size=4, length=length)


def parameters(config: LlamaConfig) -> forward.Params:
    """Parameters of which none is zero, B of adapters neither."""
    made = jax.device_get(forward.init(config, 3))
    return jax.tree.map(
        lambda leaf: leaf + 0.02 * np.sin(np.arange(leaf.size, dtype=np.float32)).reshape(leaf.shape), made
    )


def measured(config: LlamaConfig, mesh_config: MeshConfig) -> dict[str, float]:
    mesh = make_mesh(mesh_config, jax.devices()[: mesh_config.num_devices])
    params = jax.device_put(parameters(config), state_shardings(mesh, forward.abstract_params(config)))
    with jax.set_mesh(mesh), set_rules(mesh_config.rules):
        return dict(TeacherForced(config, mesh_config, held_out(), every=1, mesh=mesh).evaluate(0, params))


def main(case: str = "", process: str = "", port: str = "") -> None:
    if case:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", 2, int(process))
        print(json.dumps(measured(*CASES[case])))
        return
    assert jax.device_count() == 2
    print(json.dumps({name: measured(*case) for name, case in CASES.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])

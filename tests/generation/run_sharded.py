"""Generates on one device and over meshes of eight, and prints what came out as JSON; a process with 8 devices."""

import json

import jax

from agentbank_jax.generation.engine import Engine
from agentbank_jax.generation.requests import GenerationRequest, SamplingParams
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import state_shardings
from tests.generation.made import SETTINGS, make_ids

CONFIG = LlamaConfig(
    vocab_size=64, hidden_size=64, intermediate_size=128, num_layers=2, num_heads=8, num_kv_heads=4,
    max_position_embeddings=640,
)  # fmt: skip
MESHES = {"one": None, "tensor": (1, 4), "fsdp": (8, 1), "both": (4, 2)}


def replies(engine: Engine) -> list[list[int]]:
    """Two turns of three conversations, one of which draws and all of which must make room for another."""
    shared, found = make_ids(1, 20), []
    conversations = {name: [*shared, *make_ids(ord(name), 5)] for name in "abc"}
    for turn in range(2):
        for name, ids in conversations.items():
            sampling = SamplingParams(max_new_tokens=8, temperature=float(name == "c"), seed=1)
            engine.submit(GenerationRequest(id=name, ids=tuple(ids), sampling=sampling, conversation=name))
        ended = {}
        while engine.busy:
            ended |= {delta.request_id: delta.generation for delta in engine.step()}
        for name, ids in conversations.items():
            found.append(list(ended[name].ids))
            ids += [*ended[name].ids, *make_ids(turn, 4)]
    return found


def main() -> None:
    params = forward.init(CONFIG, 7)
    found = {}
    for name, sizes in MESHES.items():
        mesh, placed = None, params
        if sizes is not None:
            fsdp, tensor = sizes
            mesh = make_mesh(MeshConfig(fsdp=fsdp, tensor=tensor), jax.devices()[: fsdp * tensor])
            placed = jax.device_put(params, state_shardings(mesh, params))
        engine = Engine(CONFIG, placed, stop_ids=(), slots=2, max_length=96, settings=SETTINGS, mesh=mesh)
        found[name] = replies(engine)
        found[f"{name} returned"] = engine.stats.swapped_in
        key = engine._runner._cache.k[0]
        found[f"{name} part"] = key.addressable_shards[0].data.size / key.size
    print(json.dumps(found))


if __name__ == "__main__":
    main()

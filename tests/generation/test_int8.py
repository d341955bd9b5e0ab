"""An engine with int8 weights replies as the model that they stand for, also over a mesh."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.engine import Engine
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.quantization import dequantize, quantize
from tests.generation.made import SETTINGS, ask, make_engine, make_ids, reply_of
from tests.models.made_families import FAMILIES, LLAMA, fresh_params

ROOT = Path(__file__).parents[2]

LENGTH = 64


# With log-probabilities, as the others here: the same programs.
REQUESTS = [ask(str(number), make_ids(number, 6 + 9 * number), logprobs=0) for number in range(3)]


def int8_engine(config: LlamaConfig, params: forward.Params, **others) -> Engine:
    options = {"stop_ids": (), "slots": 3, "max_length": LENGTH, "settings": SETTINGS, "weights": "int8"} | others
    return Engine(config, params, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_equal_a_plain_loop_over_the_dequantised_model(family: str) -> None:
    config, params = FAMILIES[family], fresh_params(family)
    dequantized = dequantize(quantize(params))

    @jax.jit
    def next_logits(tokens, length):
        return forward.apply(config, dequantized, tokens, jnp.arange(LENGTH)[None])[0][0, length - 1]

    engine = int8_engine(config, params)
    conversations = {name: make_ids(number, 5 + 9 * number) for number, name in enumerate("abc")}
    for turn in range(2):
        requests = [ask(name, ids, conversation=name, logprobs=0) for name, ids in conversations.items()]
        for (name, ids), delta in zip(conversations.items(), engine.generate(requests), strict=True):
            assert delta.generation is not None
            for token, place in zip(delta.generation.ids, delta.generation.logprobs, strict=True):
                padded = np.zeros((1, LENGTH), np.int32)
                padded[0, : len(ids)] = ids
                logits = np.asarray(next_logits(padded, len(ids)), np.float64)
                assert token == logits.argmax()
                logprob = logits.max() - np.log(np.exp(logits).sum())
                assert place.logprob == pytest.approx(logprob, abs=1e-5)
                ids.append(token)
            ids += make_ids(10 + turn + ord(name), 4)
    # The caller's parameters are as they were.
    assert params["layers"]["mlp"]["up_proj"]["kernel"].dtype == jnp.float32


def test_what_is_quantised_already_is_taken_as_it_is_and_activations_may_be_bfloat16() -> None:
    config = replace(LLAMA, num_layers=1, dtype="bfloat16", param_dtype="bfloat16")
    params = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), fresh_params("llama"))
    quantized = quantize({**params, "layers": jax.tree.map(lambda leaf: leaf[:1], params["layers"])})
    request = ask("a", make_ids(1, 5), 8)
    replies = [reply_of(int8_engine(config, quantized, weights=weights), request).ids for weights in ("", "int8")]
    assert replies[0] == replies[1] and len(replies[0]) == 8


def test_unknown_weights_are_named() -> None:
    with pytest.raises(AgentBankError, match="weights='int4' is no known kind; expected 'int8'"):
        make_engine(weights="int4")


MESHES = """
import json
import jax, numpy as np
from agentbank_jax.models import quantization
from agentbank_jax.parallel.hlo import read_traffic
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import path_name, state_shardings
from tests.generation.test_int8 import REQUESTS, int8_engine
from tests.models.made_families import LLAMA, fresh_params

params = fresh_params("llama")
expected = quantization.quantize(params)

found = {"elsewhere": [], "different": [], "sent": []}
for axes in ({"fsdp": 8}, {"fsdp": 4, "tensor": 2}):
    mesh = make_mesh(MeshConfig(**axes))
    divided = jax.device_put(params, state_shardings(mesh, params))
    quantized = quantization.quantize(divided)
    wanted = jax.tree.leaves(state_shardings(mesh, quantized))
    leaves = jax.tree_util.tree_leaves_with_path(quantized)
    for (path, leaf), one, sharding in zip(leaves, jax.tree.leaves(expected), wanted, strict=True):
        if not leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
            found["elsewhere"].append([axes, path_name(path), str(leaf.sharding.spec), str(sharding.spec)])
        if not np.array_equal(leaf, one):
            found["different"].append([axes, path_name(path)])
    kernel = divided["layers"]["mlp"]["up_proj"]["kernel"]
    program = quantization._rounded.lower(kernel, -2, quantization._shardings(kernel, -2)).compile()
    sent = read_traffic(program.as_text()).collective_bytes
    found["sent"].append({kind: count for kind, count in sent.items() if count})
engine = int8_engine(LLAMA, divided, mesh=mesh)
found["tokens"] = [delta.generation.ids for delta in engine.generate(REQUESTS)]
print(json.dumps(found))
"""


def test_over_8_devices_weights_are_quantised_where_they_lie_and_tokens_are_those_of_one_device() -> None:
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    done = subprocess.run([sys.executable, "-c", MESHES], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    deltas = int8_engine(LLAMA, fresh_params("llama")).generate(REQUESTS)
    assert found["tokens"] == [list(delta.generation.ids) for delta in deltas if delta.generation]
    assert [len(ids) for ids in found["tokens"]] == [6, 6, 6]
    assert found["elsewhere"] == [] == found["different"]
    # The largest magnitudes of the channels, and nothing of the kernel: [2 layers, 272] float32, all-reduced.
    for sent in found["sent"]:
        assert sent.keys() <= {"all-reduce"} and 0 < sent["all-reduce"] <= 2 * 2 * 272 * 4, sent

"""Rematerialisation changes what is kept, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.remat import POLICIES

CONFIG = LlamaConfig(
    vocab_size=61, hidden_size=32, intermediate_size=96, num_layers=3, num_heads=4, num_kv_heads=2, scan_layers=True
)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 61, (2, 256)), jnp.int32)
POSITIONS = jnp.broadcast_to(jnp.arange(256, dtype=jnp.int32), TOKENS.shape)
SEGMENTS = jnp.where(POSITIONS < 100, 1, 2)


def _gradient(config: LlamaConfig):
    def loss(params):
        logits, _ = forward.apply(config, params, TOKENS, POSITIONS, SEGMENTS)
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1))

    return jax.jit(jax.value_and_grad(loss))


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "none"])
def test_every_policy_equals_none_in_value_and_gradient(policy, scan):
    config = dataclasses.replace(CONFIG, scan_layers=scan)
    params = forward.init(config)
    loss, grads = _gradient(config)(params)
    remade, remade_grads = _gradient(dataclasses.replace(config, remat=policy))(params)
    np.testing.assert_allclose(remade, loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), remade_grads, grads)


def test_each_policy_keeps_less_than_the_one_before():
    params = forward.abstract_params(CONFIG)
    kept = {}
    for policy in ("none", "minimal", "attention", "full"):
        lowered = _gradient(dataclasses.replace(CONFIG, remat=policy)).lower(params)
        kept[policy] = lowered.compile().memory_analysis().temp_size_in_bytes
    assert kept["none"] > kept["minimal"] > kept["attention"] > kept["full"], kept


def test_minimal_makes_no_matrix_product_again():
    def products(policy):
        return str(jax.make_jaxpr(_gradient(dataclasses.replace(CONFIG, remat=policy)))(forward.init(CONFIG))).count(
            "dot_general"
        )

    # XLA drops what a rematerialised layer makes and does not use; JAX has dropped it before.
    assert products("minimal") == products("none") < products("full")


def test_an_unknown_policy_gets_a_suggestion():
    with pytest.raises(AgentBankError, match=r"remat='minimum'.*minimal"):
        dataclasses.replace(CONFIG, remat="minimum")

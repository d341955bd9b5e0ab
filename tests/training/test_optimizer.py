"""The schedule's shape, and what is decayed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.training.optimizer import OptimizerConfig, decay_mask, learning_rate_schedule, make_optimizer


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.1), ("linear", 0.1), ("constant", 1.0)])
def test_the_rate_rises_to_its_peak_and_falls_to_its_end(schedule, last):
    config = OptimizerConfig(learning_rate=1.0, warmup_ratio=0.1, schedule=schedule, final_ratio=0.1)
    rates = np.array([learning_rate_schedule(config, 100)(step) for step in range(101)])
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-6)
    assert rates.max() == pytest.approx(1.0)
    assert rates[100] == pytest.approx(last, abs=1e-6)
    assert (np.diff(rates[10:]) <= 1e-9).all()


def test_warmup_in_steps_replaces_the_ratio():
    config = OptimizerConfig(learning_rate=1.0, warmup_ratio=0.5, warmup_steps=2)
    assert learning_rate_schedule(config, 100)(1) == pytest.approx(1.0)


def test_norm_scales_are_not_decayed():
    params = forward.abstract_params(
        LlamaConfig(vocab_size=5, hidden_size=4, intermediate_size=4, num_layers=1, num_heads=1)
    )
    mask = decay_mask(params)
    assert not mask["norm"]["scale"] and not mask["layers"]["input_layernorm"]["scale"]
    assert mask["embed_tokens"]["embedding"] and mask["layers"]["mlp"]["up_proj"]["kernel"]
    assert jax.tree.structure(mask) == jax.tree.structure(params)


def test_muon_moves_each_layer_of_a_kernel_by_an_orthogonal_matrix_and_the_rest_by_adam():
    params = {
        "layers": {"q_proj": {"kernel": jnp.zeros((2, 8, 8))}},
        "embed_tokens": {"embedding": jnp.zeros((5, 8))},
    }
    grads = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    config = OptimizerConfig(
        name="muon", learning_rate=1.0, adam_learning_rate=0.5, warmup_ratio=0.0, schedule="constant", clip_norm=0.0
    )
    optimizer = make_optimizer(config, 10)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    for layer in updates["layers"]["q_proj"]["kernel"]:
        # Five Newton-Schulz steps bring singular values near 1, not to it (Jordan et al., 2024: about 0.7 to 1.2).
        singular = np.linalg.svd(np.asarray(layer), compute_uv=False)
        assert singular.min() > 0.3 and singular.max() < 1.3
    # Adam's first step: every entry moves equally far, against the sign of its gradient (further with Nesterov).
    moved = np.asarray(updates["embed_tokens"]["embedding"])
    np.testing.assert_array_equal(np.sign(moved), -np.sign(grads["embed_tokens"]["embedding"]))
    np.testing.assert_allclose(np.abs(moved), np.abs(moved).max(), rtol=1e-4)
    assert 0.5 <= np.abs(moved).max() < 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "mouon"}, "Did you mean 'muon'"),
        ({"adam_learning_rate": 0.1}, "is for name='muon'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"learning_rate": 0}, "more than 0"),
        ({"warmup_ratio": 2}, "0 to 1"),
        ({"beta2": 1.0}, "below 1"),
        ({"clip_norm": -1}, "0 or more"),
    ],
)
def test_an_impossible_setting_says_what_is_wrong(values, message):
    with pytest.raises(AgentBankError, match=message):
        OptimizerConfig(**values)

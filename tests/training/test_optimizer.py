"""The schedule's shape, and what is decayed."""

import jax
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.training.optimizer import OptimizerConfig, decay_mask, learning_rate_schedule


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


@pytest.mark.parametrize(
    ("values", "message"),
    [
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

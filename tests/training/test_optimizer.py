"""Optimizers: how far a step goes, what is decayed, what is kept, what is refused."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.parallel.sharding import path_name
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.state import abstract_state

MODEL = LlamaConfig(vocab_size=6, hidden_size=4, intermediate_size=8, num_layers=2, num_heads=2, family="qwen2")

# One of each, whose rate alone decides how far a step goes.
OPTIMIZERS = {
    "adamw": OptimizerConfig(learning_rate=0.1),
    "muon": OptimizerConfig(name="muon", learning_rate=0.1, adam_learning_rate=0.05),
    "lion": OptimizerConfig(name="lion", learning_rate=0.1),
    "adafactor": OptimizerConfig(name="adafactor", learning_rate=0.1, min_dim_size_to_factor=2),
}


@pytest.fixture(scope="module")
def params():
    return _made(1)


@pytest.fixture(scope="module")
def grads():
    return _made(2)


def _made(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), forward.abstract_params(MODEL))


def _names(tree):
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _steady(config):
    return make_optimizer(replace(config, schedule="constant", warmup_ratio=0.0, clip_norm=0.0), 10)


def _update(config, params, grads):
    return _first_update(_steady(config), params, grads)


@partial(jax.jit, static_argnums=0)
def _first_update(optimizer, params, grads):
    return optimizer.update(grads, optimizer.init(params), params)[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("no_decay", [None, ("embed_tokens/.*", ".*_proj/kernel")])
def test_what_no_decay_names_is_not_decayed_and_all_else_by_the_learning_rate(params, grads, name, no_decay):
    """By default norm scales and biases are left out."""
    config = OPTIMIZERS[name]
    options = {} if no_decay is None else {"no_decay": no_decay}
    optimizers = _steady(config), _steady(replace(config, weight_decay=0.5, **options))
    # One program for both.
    plain, with_decay = jax.jit(lambda: [_first_update(optimizer, params, grads) for optimizer in optimizers])()
    decayed = _names(jax.tree.map(np.subtract, plain, with_decay))
    for parameter, difference in decayed.items():
        kept = parameter.endswith(("/scale", "/bias")) if no_decay is None else "lm_head" not in parameter and (
            parameter.startswith("embed") or parameter.endswith("kernel")
        )  # fmt: skip
        others = name == "muon" and not (parameter.startswith("layers/") and parameter.endswith("kernel"))
        rate = config.adam_learning_rate if others else config.learning_rate
        expected = 0.0 if kept else 0.5 * rate * _names(params)[parameter]
        np.testing.assert_allclose(difference, np.broadcast_to(expected, difference.shape), atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_that_is_reported_is_that_of_the_update(params, grads, name):
    """A step of a schedule goes as far as one at a constant rate does, times the reported rate over the peak."""
    config = replace(OPTIMIZERS[name], schedule="wsd", warmup_steps=2, decay_steps=2, final_ratio=0.5)
    scheduled = make_optimizer(config, 6)
    steady = make_optimizer(replace(config, schedule="constant", warmup_ratio=0.0, warmup_steps=0, decay_steps=0), 6)
    reported = learning_rate_schedule(config, 6)
    update = jax.jit(lambda optimizer, state: optimizer.update(grads, state, params), static_argnums=0)
    states = jax.jit(scheduled.init)(params), jax.jit(steady.init)(params)
    seen = set()
    for step in range(6):
        (scheduled_update, state), (steady_update, steady_state) = (
            update(optimizer, state) for optimizer, state in zip((scheduled, steady), states, strict=True)
        )
        states = state, steady_state
        share = float(reported(step)) / config.learning_rate
        seen.add(round(share, 3))
        jax.tree.map(
            lambda got, want, share=share: np.testing.assert_allclose(got, share * want, rtol=1e-4, atol=1e-7),
            scheduled_update,
            steady_update,
        )
    assert seen == {0.5, 1.0, 0.75}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("adapted", [False, True])
def test_a_step_changes_neither_shapes_nor_types_of_a_state(name, adapted):
    """Of a model in bfloat16, with its first moment in bfloat16 where there is one, and of its adapters."""
    lora = LoraConfig(projections="q_proj|down_proj", rank=2) if adapted else None
    model = replace(MODEL, param_dtype="bfloat16", lora=lora)
    config = OPTIMIZERS[name]
    momentum = {"beta1": 0.9} if config.name == "adafactor" else {}
    optimizer = make_optimizer(replace(config, mu_dtype="bfloat16", weight_decay=0.1, **momentum), 10)
    state = abstract_state(model, optimizer)
    after = jax.eval_shape(optimizer.update, state.params, state.opt_state, state.params)[1]
    assert after == state.opt_state
    first = {name: leaf.dtype for name, leaf in _names(state.opt_state).items() if "/mu/" in name or "/ema/" in name}
    assert first and set(first.values()) == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("name", ["adamw", "muon", "lion", "adafactor"])
@pytest.mark.parametrize("mu_dtype", [None, "bfloat16"])
def test_the_first_moment_alone_has_the_type_that_is_set(params, name, mu_dtype):
    momentum = {"beta1": 0.9} if name == "adafactor" else {}
    optimizer = make_optimizer(OptimizerConfig(name=name, mu_dtype=mu_dtype, **momentum), 10)
    state = jax.eval_shape(optimizer.init, params)
    for leaf_name, leaf in _names(state).items():
        if leaf.ndim > 1:
            moment = "/mu/" in leaf_name or "/ema/" in leaf_name
            assert leaf.dtype == (mu_dtype if moment and mu_dtype else "float32"), leaf_name


@pytest.mark.parametrize("scaled", [True, False])
def test_adafactor_of_stacked_layers_is_that_of_each_layer_alone(params, grads, scaled):
    """Its rows and columns, its clipping and the scale of its rate are a layer's, not the stack's."""
    config = OptimizerConfig(name="adafactor", min_dim_size_to_factor=2, multiply_by_parameter_scale=scaled)
    stacked = _update(config, params, grads)["layers"]

    def layer(tree, number):
        return jax.tree.map(lambda leaf: leaf[number], tree["layers"])

    alone = optax.adafactor(config.learning_rate, min_dim_size_to_factor=2, multiply_by_parameter_scale=scaled)
    for number in range(MODEL.num_layers):
        one = layer(params, number)
        expected = _first_update(alone, one, layer(grads, number))
        jax.tree.map(
            lambda got, want, number=number: np.testing.assert_allclose(got[number], want, rtol=1e-5),
            stacked,
            expected,
        )


def test_lion_moves_every_value_by_the_rate_against_the_sign_of_the_gradient(params, grads):
    moved = _update(OPTIMIZERS["lion"], params, grads)
    jax.tree.map(lambda update, grad: np.testing.assert_allclose(update, -0.1 * np.sign(grad)), moved, grads)


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
    updates = _first_update(optimizer, params, grads)
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
        ({"name": "adafactr"}, "Did you mean 'adafactor'"),
        ({"adam_learning_rate": 0.1}, r"adam_learning_rate=0.1 is for name='muon'; 'adamw' .*\(or set it to 0.0\)"),
        ({"name": "adafactor", "beta2": 0.9}, "beta2=0.9 is for name='adamw' or 'muon' or 'lion'; 'adafactor' does"),
        ({"name": "lion", "eps": 1e-8}, r"eps=1e-08 is for .*'lion' does not take it: .*set it to None"),
        ({"decay_rate": 0.8}, "decay_rate=0.8 is for name='adafactor'"),
        ({"multiply_by_parameter_scale": False}, "multiply_by_parameter_scale=False is for name='adafactor'"),
        ({"name": "lion", "min_dim_size_to_factor": 64}, "min_dim_size_to_factor=64 is for name='adafactor'"),
        ({"name": "adafactor", "mu_dtype": "bfloat16"}, "'adafactor' has no first moment without beta1"),
        ({"mu_dtype": "bfloat61"}, "mu_dtype='bfloat61' is not known. Did you mean 'bfloat16'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"schedule": "wds"}, "Did you mean 'wsd'"),
        ({"decay_ratio": 0.2}, "decay_ratio=0.2 is for schedule='wsd'; 'cosine' does not take it"),
        ({"decay_steps": 5, "schedule": "linear"}, "decay_steps=5 is for schedule='wsd'"),
        ({"decay_type": "linear"}, "decay_type='linear' is for schedule='wsd'"),
        ({"schedule": "wsd", "decay_type": "sqr"}, "Did you mean 'sqrt'"),
        ({"schedule": "wsd", "decay_ratio": 1.5}, "decay_ratio=1.5: expected 0 to 1"),
        ({"schedule": "wsd", "warmup_ratio": 0.6, "decay_ratio": 0.6}, "more than the whole run"),
        ({"no_decay": ("*",)}, "no regular expression"),
        ({"no_decay": ("embed_token/.*",)}, "'embed_token/.*' matches the whole name of no parameter"),
        ({"no_decay": ("lm_head/kernl",)}, "Did you mean 'lm_head/kernel'"),
        ({"learning_rate": 0}, "learning_rate=0: expected a number above 0"),
        ({"learning_rate": float("inf")}, "learning_rate=inf: expected a number above 0"),
        ({"warmup_ratio": 2}, "0 to 1"),
        ({"beta2": 1.0}, "below 1"),
        ({"clip_norm": -1}, "0 or more"),
    ],
)
def test_an_impossible_setting_says_what_is_wrong(values, message):
    with pytest.raises(AgentBankError, match=message) as raised:
        OptimizerConfig(**values)
    assert "\n" not in str(raised.value)

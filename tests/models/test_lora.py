"""LoRA: what it computes, what it leaves alone, and what it costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward, lora, projection
from agentbank_jax.models.fingerprint import fingerprint
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.models.remat import POLICIES
from agentbank_jax.training.loss import summed_loss
from agentbank_jax.training.state import abstract_state
from agentbank_jax.training.step import make_train_step
from tests.training.made_batches import MadeBatches

LORA = LoraConfig(projections=".*_proj", rank=3, alpha=7.0)
CONFIG = LlamaConfig(
    vocab_size=61, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2, lora=LORA,
    family="qwen2",
)  # fmt: skip
BATCH = MadeBatches(CONFIG.vocab_size, batch_size=2).batch_at(0)

apply = jax.jit(forward.apply, static_argnums=0)


def _logits(config, params):
    return apply(config, params, BATCH["tokens"], BATCH["positions"], BATCH["segment_ids"])[0]


@pytest.fixture(scope="module")
def base():
    return forward.init(CONFIG.base, 3)


@pytest.fixture(scope="module")
def adapters():
    """As after training: B is not zero."""
    fresh, _ = lora.split(forward.init(CONFIG, 4))
    leaves, structure = jax.tree.flatten(fresh)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    leaves = [0.3 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, leaves)


@pytest.fixture(scope="module")
def params(base, adapters):
    return lora.join(base, adapters)


@pytest.mark.parametrize("scan", [False, True])
def test_fresh_adapters_leave_the_logits_as_they_are_bit_for_bit(base, scan):
    config = dataclasses.replace(CONFIG, scan_layers=scan)
    fresh, same = lora.split(forward.init(CONFIG, 3))
    jax.tree.map(np.testing.assert_array_equal, same, base)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(fresh) if leaf.shape[-1] == LORA.rank)
    np.testing.assert_array_equal(_logits(config, lora.join(base, fresh)), _logits(config.base, base))


def test_merged_adapters_give_the_logits_of_applied_ones(base, adapters, params):
    applied = _logits(CONFIG, params)
    assert np.abs(applied - _logits(CONFIG.base, base)).max() > 1
    merged = lora.merge(LORA, base, adapters)
    assert jax.tree.structure(merged) == jax.tree.structure(base)
    np.testing.assert_allclose(_logits(CONFIG.base, merged), applied, atol=1e-4, rtol=1e-5)
    kernel = np.asarray(base["layers"]["mlp"]["up_proj"]["kernel"], np.float64)
    ours = (np.asarray(adapters["layers"]["mlp"]["up_proj"]["lora"][part], np.float64) for part in "ab")
    expected = kernel + 7.0 / 3 * np.einsum("lir,lro->lio", *ours)
    np.testing.assert_allclose(merged["layers"]["mlp"]["up_proj"]["kernel"], expected, rtol=1e-5, atol=1e-6)


def test_merging_in_place_gives_the_same_in_the_type_of_the_base(base, adapters):
    half = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), base)
    merged = lora.merge(LORA, half, adapters)
    kernel = half["layers"]["self_attn"]["q_proj"]["kernel"]
    consumed = lora.merge(LORA, half, adapters, consume=True)
    jax.tree.map(np.testing.assert_array_equal, consumed, merged)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(merged)} == {"bfloat16"} and kernel.is_deleted()


def test_split_and_join_are_inverse(params, base, adapters):
    first, second = lora.split(params)
    assert jax.tree.structure(first) == jax.tree.structure(adapters)
    assert jax.tree.structure(second) == jax.tree.structure(base)
    assert jax.tree.structure(lora.join(second, first)) == jax.tree.structure(params)


def _loss(config, adapters, base, key=None):
    return summed_loss(config, lora.join(base, adapters), BATCH, dropout_key=key)


def test_gradients_follow_from_those_of_the_merged_kernels_by_the_chain_rule(base, adapters):
    """With W' = W + scale A B: dA = scale dW' B^T and dB = scale A^T dW'."""
    grads = jax.jit(jax.grad(_loss, argnums=1), static_argnums=0)(CONFIG, adapters, base)
    merged = lora.merge(LORA, base, adapters)
    whole = jax.jit(jax.grad(lambda merged: _loss(CONFIG.base, {}, merged)))(merged)
    for block, name in [("self_attn", n) for n in LORA.names[:4]] + [("mlp", n) for n in LORA.names[4:]]:
        dW = whole["layers"][block][name]["kernel"]
        ours, pair = grads["layers"][block][name]["lora"], adapters["layers"][block][name]["lora"]
        for got, expected in (
            (ours["a"], LORA.scale * jnp.einsum("lio,lro->lir", dW, pair["b"], precision="highest")),
            (ours["b"], LORA.scale * jnp.einsum("lir,lio->lro", pair["a"], dW, precision="highest")),
        ):
            assert np.linalg.norm(got - expected) <= 1e-5 * np.linalg.norm(expected), name


@pytest.mark.parametrize(
    "others",
    [
        [(True, "none"), (True, "full")],
        pytest.param([(False, "full"), *((True, policy) for policy in POLICIES)], marks=pytest.mark.slow),
    ],
)
def test_scanned_and_rematerialised_layers_equal_plain_ones_with_what_is_dropped(base, adapters, others):
    # Of each block one; a generator of random bits takes long to compile.
    names = ("q_proj", "down_proj")
    config = dataclasses.replace(CONFIG, lora=dataclasses.replace(LORA, projections="|".join(names), dropout=0.4))
    adapters = {"layers": {block: {name: pair for name, pair in of_block.items() if name in names}
                           for block, of_block in adapters["layers"].items()}}  # fmt: skip
    grad = jax.jit(jax.value_and_grad(_loss, argnums=1), static_argnums=0)
    loss, grads = grad(config, adapters, base, jax.random.key(1))
    for scan, remat in others:
        other = dataclasses.replace(config, scan_layers=scan, remat=remat)
        other_loss, other_grads = grad(other, adapters, base, jax.random.key(1))
        np.testing.assert_allclose(other_loss, loss, rtol=1e-6)
        for got, expected in zip(jax.tree.leaves(other_grads), jax.tree.leaves(grads), strict=True):
            assert np.linalg.norm(got - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize(("scan", "remat"), [(False, "none"), (True, "full")])
def test_a_step_computes_no_gradient_of_the_base(scan, remat):
    """Two thirds of the products are left without rematerialisation, three quarters with all of it."""

    def flops(config):
        config = dataclasses.replace(config, scan_layers=scan, remat=remat)
        arguments = (abstract_state(config, optax.sgd(1.0)), BATCH)
        frozen = (forward.abstract_params(config.base),) if config.lora else ()
        step = jax.jit(make_train_step(config, optax.sgd(1.0), lambda _: 1.0))
        return step.lower(*arguments, *frozen).compile().cost_analysis()["flops"]

    # Wide enough for what adapters and attention add to be little.
    wide = dataclasses.replace(CONFIG, hidden_size=256, intermediate_size=512, head_dim=64, num_layers=1)
    assert flops(wide) < 0.85 * flops(wide.base)


def test_dropout_zeroes_its_share_and_keeps_the_mean():
    got = np.asarray(lora.dropped(jnp.ones((200, 200)), 0.25, jax.random.key(0)))
    assert set(np.unique(got)) == {0.0, np.float32(1 / 0.75)}
    assert abs((got == 0).mean() - 0.25) < 0.01


def test_what_is_dropped_depends_on_the_key_the_layer_and_the_projection_and_is_nothing_without_a_key(base, adapters):
    config = dataclasses.replace(CONFIG, lora=dataclasses.replace(LORA, dropout=0.5))
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, "dropped", lambda x, rate, key: seen.append(jax.random.key_data(key).tolist()) or x)
        _loss(config, adapters, base)
        assert not seen
        for number in (0, 1):
            _loss(config, adapters, base, jax.random.key(number))
    assert len({tuple(key) for key in seen}) == len(seen) == 2 * CONFIG.num_layers * len(LORA.names)


def test_the_scale_is_that_of_the_paper_or_rank_stabilised():
    assert LORA.scale == 7.0 / 3
    assert dataclasses.replace(LORA, rank=4, rank_stabilised=True).scale == 3.5


def test_a_fingerprint_finds_a_changed_bit_an_exchange_and_another_type(base):
    name = fingerprint(base)
    assert name == fingerprint(jax.tree.map(jnp.array, base)) and name.startswith("float32:")
    kernel = base["layers"]["mlp"]["up_proj"]["kernel"]
    bit = kernel.at[1, 2, 3].set(jnp.nextafter(kernel[1, 2, 3], jnp.inf))
    rows, columns = kernel.at[1, jnp.array([2, 3])].set(kernel[1, jnp.array([3, 2])]), kernel[:, :, ::-1]
    for other in (bit, rows, columns, kernel[::-1], kernel.astype("bfloat16"), jnp.zeros_like(kernel)):
        changed = jax.tree.map(lambda leaf, other=other: other if leaf is kernel else leaf, base)
        assert fingerprint(changed) != name
    half = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), base)
    assert fingerprint(half).startswith("bfloat16:")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"projections": "q_prj"}, r"'q_prj' matches no projection. Did you mean 'q_proj'\?"),
        ({"projections": "q_proj|v_prj"}, r"'v_prj' matches no projection. Did you mean 'v_proj'\?"),
        ({"projections": "lm_head"}, "'lm_head' matches no projection. Known: down_proj, gate_proj"),
        ({"projections": ""}, "matches no projection"),
        ({"projections": "(q"}, "is no regular expression"),
        ({"rank": 0}, "LoraConfig.rank=0: expected at least 1"),
        ({"alpha": 0.0}, "LoraConfig.alpha=0.0: expected more than 0"),
        ({"alpha": float("nan")}, "LoraConfig.alpha=nan: expected more than 0"),
        ({"dropout": 1.0}, "LoraConfig.dropout=1.0: expected 0 or more and below 1"),
        ({"dropout": -0.1}, "LoraConfig.dropout=-0.1: expected 0 or more"),
        ({"param_dtype": "float23"}, "Did you mean 'float32'"),
    ],
)
def test_an_impossible_adapter_says_what_is_wrong(values, message):
    with pytest.raises(AgentBankError, match=message):
        LoraConfig(**{"projections": "q_proj", **values})


def test_a_rank_larger_than_a_matrix_is_refused_with_the_numbers():
    # Keys and values have 2 heads of 8.
    with pytest.raises(AgentBankError, match=r"rank=17 is larger than k_proj, a matrix of 32 x 16: .* at most 16"):
        dataclasses.replace(CONFIG, lora=LoraConfig(projections=".*", rank=17))
    assert dataclasses.replace(CONFIG, lora=LoraConfig(projections="(q|o)_proj", rank=17)).lora.names == (
        "q_proj", "o_proj",
    )  # fmt: skip

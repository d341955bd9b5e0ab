"""Weights in int8: what is rounded and by how much, what stays, and what logits may differ by."""

from dataclasses import replace

import hypothesis.extra.numpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.quantization import dequantize, is_quantized, project_quantized, quantize
from agentbank_jax.parallel.sharding import LOGICAL_AXES, path_name
from tests.models.made_families import FAMILIES, LLAMA, fresh_params

# Of the logits' standard deviation: the root mean square of the differences, and the largest of 38,400. Rounding to
# 1/127 of the largest of 48 normal weights, about 2.3 standard deviations, errs evenly within half of it: by 0.5 % of
# a product. Measured over 4 seeds behind all the layers: 0.63 % to 0.81 %, the largest 3.1 % to 4.0 %.
LOGIT_BOUND = 0.01, 0.06
# Activations of 8 significant bits add their own: 0.74 % to 0.89 %, the largest 3.5 % to 4.9 %.
LOGIT_BOUND_BFLOAT16 = 0.0125, 0.08

TINY = np.finfo(np.float32).tiny

# Programs that run once had better be compiled soon than be fast.
apply = jax.jit(forward.apply, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return FAMILIES[request.param], fresh_params(request.param)


def only(kernel) -> dict:
    """Parameters that are nothing but an output projection."""
    return {"lm_head": {"kernel": jnp.asarray(kernel)}}


KERNELS = hypothesis.extra.numpy.arrays(
    np.float32, (2, 5, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32), fill=st.just(0.0)
)


@given(KERNELS)
@example(np.full((2, 5, 3), 2.0**-140, np.float32))
@example(np.full((2, 5, 3), 3e38, np.float32))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_weight_differs_by_at_most_half_a_scale_and_nothing_else_becomes_of_it(dtype, kernel):
    kernel = jnp.asarray(kernel).astype(dtype)
    head = quantize(only(kernel))["lm_head"]
    assert head["kernel"].dtype == jnp.int8 and head["scale"].dtype == jnp.float32
    # In float64, so that only the quantisation is rounded.
    weights, quantized, scale = (np.asarray(x, np.float64) for x in (kernel, head["kernel"], head["scale"][:, None]))
    assert np.isfinite(scale).all() and (scale >= 0).all() and np.abs(quantized).max() <= 127
    error = np.abs(weights - quantized * scale)
    # A weight / scale up to 127 has an error of 127 x 2**-24 in float32; what is below its range is zero.
    assert (error <= scale * (0.5 + 1e-5) + 127 * TINY * (scale == 0)).all()
    channels = (weights != 0).any(axis=1, keepdims=True)
    assert (quantized[~np.broadcast_to(channels, quantized.shape)] == 0).all()
    # The largest of each channel takes the largest number: no finer scale would do.
    assert (np.abs(quantized).max(axis=1, keepdims=True)[scale > 0] == 127).all()


def test_halves_are_rounded_to_even_numbers():
    (column,) = np.asarray(quantize(only([[127.0], [0.5], [1.5], [2.5], [-0.5], [-1.5]]))["lm_head"]["kernel"]).T
    assert column.tolist() == [127, 0, 2, 2, 0, -2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_is_that_of_the_dequantised_kernel_and_within_its_rounding(dtype, transposed):
    random = np.random.default_rng(1)
    for rows, inputs, outputs in (((), 3, 1), ((5,), 33, 128), ((2, 3), 64, 300)):
        x = jnp.asarray(random.standard_normal((*rows, inputs)), dtype)
        kernel = random.standard_normal((inputs, outputs), np.float32)
        head = quantize(only(kernel))["lm_head"]
        given_kernel = head["kernel"].T if transposed else head["kernel"]
        got = jax.jit(project_quantized, static_argnames="transposed")(
            x, given_kernel, head["scale"], transposed=transposed
        )
        assert got.shape == (*rows, outputs) and got.dtype == jnp.float32
        x, kernel, quantized, scale = (np.asarray(a, np.float64) for a in (x, kernel, *head.values()))
        np.testing.assert_allclose(got, x @ (quantized * scale), rtol=1e-5, atol=1e-5)
        bound = np.abs(x).sum(axis=-1, keepdims=True) * scale / 2
        assert (np.abs(got - x @ kernel) <= bound + 1e-5).all()


def test_a_loop_of_products_keeps_no_kernel_in_another_type():
    inputs = outputs = 1024

    @jax.jit
    def loop(x, kernel, scale):
        return jax.lax.fori_loop(0, 8, lambda _, x: jnp.tanh(project_quantized(x, kernel, scale)), x)

    shapes = (((8, inputs), "float32"), ((inputs, outputs), "int8"), ((outputs,), "float32"))
    compiled = loop.lower(*(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes)).compile()
    # In float32 it would be 4 bytes each.
    assert compiled.memory_analysis().temp_size_in_bytes < 2 * inputs * outputs


def test_kernels_become_int8_and_all_else_stays(family):
    config, params = family
    quantized = quantize(params)
    assert is_quantized(quantized) and not is_quantized(params)
    before = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    after = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(quantized)}
    converted = {name for name in before if name.endswith("kernel")}
    converted |= {"embed_tokens/embedding"} if config.tie_word_embeddings else set()
    assert len(converted) == 8
    for name, leaf in before.items():
        assert after[name].dtype == jnp.int8 if name in converted else after[name] is leaf, name
    scales = {name: after[name] for name in after.keys() - before.keys()}
    assert scales.keys() == {f"{name.rpartition('/')[0]}/scale" for name in converted}
    for name, scale in scales.items():
        assert scale.ndim == len(LOGICAL_AXES[name])
    size, channels = (sum(leaf.size for leaf in found) for found in ((after[n] for n in converted), scales.values()))
    assert sum(after[name].nbytes for name in after.keys() & converted | scales.keys()) == size + 4 * channels


def test_parameters_take_about_a_quarter_of_float32():
    config = LlamaConfig(vocab_size=3000, hidden_size=256, intermediate_size=704, num_layers=2, num_heads=4,
                         tie_word_embeddings=True)  # fmt: skip
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), forward.abstract_params(config))
    whole, quantized = (sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) for tree in (params, quantize(params)))
    assert 0.25 < quantized / whole < 0.26


def test_logits_differ_within_the_stated_bound_and_equal_those_of_the_dequantised_model(family):
    config, params = family
    tokens = jax.random.randint(jax.random.key(0), (4, 32), 0, config.vocab_size)
    positions = jnp.broadcast_to(jnp.arange(32), tokens.shape)
    whole, _ = apply(config, params, tokens, positions)
    quantized = quantize(params)

    def differences(logits):
        difference = np.asarray(logits - whole, np.float64)
        return np.array([np.sqrt(np.mean(difference**2)), np.abs(difference).max()]) / np.asarray(whole).std()

    logits, _ = apply(replace(config, scan_layers=True), quantized, tokens, positions)
    assert logits.dtype == jnp.float32
    found = differences(logits)
    assert (found <= LOGIT_BOUND).all() and (found >= np.array(LOGIT_BOUND) / 4).all(), found
    dequantised, _ = apply(config, dequantize(quantized), tokens, positions)
    np.testing.assert_allclose(logits, dequantised, atol=2e-5)
    halved, _ = apply(replace(config, dtype="bfloat16"), quantized, tokens, positions)
    assert halved.dtype == jnp.float32 and (differences(halved) <= LOGIT_BOUND_BFLOAT16).all(), differences(halved)


def test_the_inverse_gives_back_the_tree_and_quantising_again_changes_nothing(family):
    _, params = family
    quantized = quantize(params)
    restored = dequantize(quantized, "bfloat16")
    assert jax.tree.structure(restored) == jax.tree.structure(params)
    assert restored["layers"]["mlp"]["up_proj"]["kernel"].dtype == jnp.bfloat16
    again = quantize(quantized)
    assert jax.tree.structure(again) == jax.tree.structure(quantized)
    assert all(a is b for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(quantized), strict=True))
    # What lies on the grid is found again.
    for a, b in zip(jax.tree.leaves(quantize(dequantize(quantized))), jax.tree.leaves(quantized), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_memory_of_what_is_converted_is_given_back_only_where_asked():
    params = forward.init(LLAMA, 2)
    expected = quantize(params)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    consumed = quantize(params, consume=True)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        assert leaf.is_deleted() == path_name(path).endswith("kernel")
    for a, b in zip(jax.tree.leaves(consumed), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_adapters_are_refused_with_the_remedy():
    adapted = {**only([[1.0]]), "layers": {"q_proj": {"kernel": jnp.ones((1, 2, 2)), "lora": {"a": 0, "b": 0}}}}
    with pytest.raises(AgentBankError, match=r"adapters cannot be quantised to int8; .* \(models\.lora\.merge"):
        quantize(adapted)

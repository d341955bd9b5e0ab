"""The cross-entropy that holds few logits, against optax's, which holds all."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentbank_jax.training.cross_entropy import summed_cross_entropy

WIDTH, VOCABULARY = 12, 37
RNG = np.random.default_rng(0)
HIDDEN = jnp.asarray(RNG.normal(size=(3, 10, WIDTH)), jnp.float32)
KERNEL = jnp.asarray(RNG.normal(size=(WIDTH, VOCABULARY)), jnp.float32)
TARGETS = jnp.asarray(RNG.integers(0, VOCABULARY, (3, 10)), jnp.int32)
WEIGHTS = jnp.asarray(RNG.integers(0, 3, (3, 10)), jnp.float32)


def plain(hidden, kernel):
    losses = optax.softmax_cross_entropy_with_integer_labels(hidden @ kernel, TARGETS)
    return jnp.sum(WEIGHTS * losses)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("chunks", [1, 2, 4, 10])
def test_it_equals_the_plain_form_in_value_and_gradient(chunks, tied):
    def chunked(hidden, kernel):
        kernel = kernel.T if tied else kernel
        at_once = -(-TARGETS.size * VOCABULARY // chunks)
        return 0.5 * summed_cross_entropy(hidden, kernel, TARGETS, WEIGHTS, tied=tied, logits_at_once=at_once)

    want, want_grads = jax.value_and_grad(plain, argnums=(0, 1))(HIDDEN, KERNEL)
    got, grads = jax.jit(jax.value_and_grad(chunked, argnums=(0, 1)))(HIDDEN, KERNEL)
    np.testing.assert_allclose(got, 0.5 * want, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(chunked)(HIDDEN, KERNEL), 0.5 * want, rtol=1e-6)
    for one, other in zip(grads, want_grads, strict=True):
        np.testing.assert_allclose(one, 0.5 * other, atol=1e-5)


def test_in_bfloat16_the_logits_are_float32():
    hidden, kernel = HIDDEN.astype(jnp.bfloat16), KERNEL.astype(jnp.bfloat16)
    exact = plain(hidden.astype(jnp.float32), kernel.astype(jnp.float32))
    np.testing.assert_allclose(summed_cross_entropy(hidden, kernel, TARGETS, WEIGHTS, tied=False), exact, rtol=1e-6)


def test_no_product_is_made_again_for_the_gradient():
    def count(function):
        return str(jax.make_jaxpr(function)(HIDDEN, KERNEL)).count("dot_general")

    def chunked(hidden, kernel):
        return summed_cross_entropy(hidden, kernel, TARGETS, WEIGHTS, tied=False, logits_at_once=200)

    assert count(chunked) == 1 and count(jax.grad(chunked, argnums=(0, 1))) == 3

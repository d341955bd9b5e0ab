"""Attention backends against the plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.models.attention import get_backend


@pytest.mark.parametrize("length", [20, 200, 384])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_blockwise_attention_equals_the_plain_form_in_value_and_gradient(length, kv_heads):
    rng = np.random.default_rng(length + kv_heads)

    def draw(heads):
        return jnp.asarray(rng.normal(size=(2, length, heads, 8)), jnp.float32)

    q, k, v, weights = draw(4), draw(kv_heads), draw(kv_heads), draw(4)
    # Two rows: three segments over block bounds and padding; one segment that fills the row.
    bounds = np.searchsorted([length // 3, length // 2, length - 5], np.arange(length), side="right")
    segments = jnp.asarray(np.stack([np.array([1, 2, 3, 0])[bounds], np.ones(length)]), jnp.int32)
    counted = weights * (segments > 0)[:, :, None, None]  # what padding attends to is nobody's business

    def outcome(name):
        def loss(q, k, v):
            out = get_backend(name)(q, k, v, segments)
            return jnp.sum(counted * out), out

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(q, k, v)

    (grads, out), (expected_grads, expected) = outcome("xla"), outcome("reference")
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for got, want in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5)


def test_no_segment_ids_means_one_segment():
    x = jax.random.normal(jax.random.key(0), (1, 6, 2, 4))
    for name in ("xla", "reference"):
        backend = get_backend(name)
        np.testing.assert_allclose(backend(x, x, x, None), backend(x, x, x, jnp.ones((1, 6), jnp.int32)), atol=1e-6)

"""Attention backends against the plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.attention import choose_backend, get_backend, registry
from agentbank_jax.models.attention import probe as probe_module
from agentbank_jax.models.attention.cudnn import segment_bounds
from agentbank_jax.models.attention.plain import reference_attention
from agentbank_jax.models.attention.probe import probe
from agentbank_jax.models.attention.registry import BACKENDS, Backend


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


def test_segment_bounds_cover_each_row_with_padding_as_a_last_segment():
    segments = jnp.asarray([[1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1], [1, 2, 3, 0, 0, 0]])
    starts, lengths = segment_bounds(segments, 4)
    np.testing.assert_array_equal(starts, [[0, 2, 5, -1], [0, -1, -1, -1], [0, 1, 2, 3]])
    np.testing.assert_array_equal(lengths, [[2, 3, 1, -1], [6, -1, -1, -1], [1, 1, 1, 3]])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_probe_passes_attention_that_keeps_segments_apart(dtype):
    assert probe("xla", 4, 2, 16, dtype) == ""


def leaking(q, k, v, segment_ids, max_segments=0):
    return reference_attention(q, k, v, None)


def wrong_gradient(q, k, v, segment_ids, max_segments=0):
    return reference_attention(q, jax.lax.stop_gradient(k), v, segment_ids)


def absent(q, k, v, segment_ids, max_segments=0):
    raise NotImplementedError("no such device")


@pytest.fixture
def broken(monkeypatch, request):
    """Registers a broken backend that the platform would take first."""
    backend = Backend(attention=request.param, platforms=("cpu",))
    monkeypatch.setattr(probe_module, "BACKENDS", {"broken": backend, **BACKENDS})
    monkeypatch.setattr(registry, "BACKENDS", {"broken": backend, **BACKENDS})
    probe.cache_clear()
    yield
    probe.cache_clear()


SHAPE = {"num_heads": 2, "num_kv_heads": 2, "head_dim": 8, "dtype": "float32"}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [(leaking, "packed rows differ"), (wrong_gradient, "gradient of k"), (absent, "NotImplementedError: no such")],
    indirect=["broken"],
)
def test_a_backend_that_fails_is_refused_by_name_and_passed_over_by_auto(broken, reason, caplog):
    with pytest.raises(AgentBankError, match=rf"'broken' cannot be used on this cpu: .*{reason}.*auto"):
        choose_backend("broken", **SHAPE)
    assert choose_backend("auto", **SHAPE) == "xla"
    assert "'broken' is passed over" in caplog.text


def test_an_unknown_backend_gets_a_suggestion():
    with pytest.raises(AgentBankError, match=r"'cuddn' does not exist.*cudnn"):
        choose_backend("cuddn", **SHAPE)

"""Attention backends against the plain form."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.attention import blockwise, choose_backend, get_backend, registry
from agentbank_jax.models.attention import probe as probe_module
from agentbank_jax.models.attention.cudnn import segment_bounds
from agentbank_jax.models.attention.plain import reference_attention
from agentbank_jax.models.attention.probe import probe
from agentbank_jax.models.attention.registry import BACKENDS, Backend
from agentbank_jax.models.attention.splash import splash_attention


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


def test_memory_of_blockwise_attention_grows_with_the_length_not_with_its_square():
    def temporary(length):
        x = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32)
        segments = jax.ShapeDtypeStruct((1, length), jnp.int32)
        gradient = jax.grad(lambda q, k, v, ids: jnp.sum(get_backend("xla")(q, k, v, ids)), argnums=(0, 1, 2))
        return jax.jit(gradient).lower(x, x, x, segments).compile().memory_analysis().temp_size_in_bytes

    sizes = [temporary(length) for length in (2048, 4096, 8192)]
    assert sizes[1] <= 2.1 * sizes[0] and sizes[2] <= 2.1 * sizes[1], sizes
    # A quarter of the scores of the shortest.
    assert sizes[0] < 2 * 2048**2, sizes


def test_a_segment_reads_no_block_before_the_one_it_begins_in():
    length = 3 * blockwise.BLOCK
    places = np.arange(length)
    segments = jnp.asarray(np.stack([places // blockwise.BLOCK + 1, places // length + 1]), jnp.int32)
    x = jax.random.normal(jax.random.key(0), (2, length, 2, 8))
    poisoned = x.at[0, : 2 * blockwise.BLOCK].set(jnp.nan)
    out = get_backend("xla")(x, poisoned, poisoned, segments)
    # One number that is none, times a weight of zero, would be seen.
    assert np.isfinite(out[0, 2 * blockwise.BLOCK :]).all() and np.isnan(out[0, : 2 * blockwise.BLOCK]).all()


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


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_splash_attention_equals_the_plain_form_in_value_and_gradient(kv_heads):
    rng = np.random.default_rng(kv_heads)
    q, k, v, weights = (
        jnp.asarray(rng.normal(size=(2, 256, heads, 128)), jnp.float32) for heads in (2, kv_heads, kv_heads, 2)
    )
    segments = jnp.asarray(np.stack([np.arange(256) // 90 + 1, np.where(np.arange(256) < 200, 1, 0)]), jnp.int32)
    counted = weights * (segments > 0)[:, :, None, None]

    def outcome(attention, ids):
        def loss(q, k, v):
            out = attention(q, k, v, ids)
            return jnp.sum(counted * out), jnp.where(counted != 0, out, 0)

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(q, k, v)

    got, want = (
        outcome(attention, segments) for attention in (partial(splash_attention, interpret=True), reference_attention)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5), got, want)


def test_splash_attention_needs_rows_of_whole_blocks():
    x = jnp.zeros((1, 200, 1, 128))
    with pytest.raises(NotImplementedError, match="rows of 200 tokens; expected a multiple of 128"):
        splash_attention(x, x, x, None)


SPLIT = """
import sys
from functools import partial
import jax, jax.numpy as jnp, numpy as np
from agentbank_jax.models.attention import get_backend
from agentbank_jax.models.attention.plain import reference_attention
from agentbank_jax.models.attention.splash import splash_attention
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
rng = np.random.default_rng(0)
q, k, v = (jnp.asarray(rng.normal(size=(2, 512, heads, 128)), jnp.float32) for heads in (4, 2, 2))
segments = jnp.asarray(np.stack([np.arange(512) // 190 + 1, np.arange(512) // 300 + 1]), jnp.int32)

def outcome(attention):
    loss = lambda q, k, v: jnp.sum(jnp.sin(attention(q, k, v, segments)))
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(q, k, v)

want = outcome(reference_attention)
for mesh in (MeshConfig(fsdp=2, context=2, tensor=2), MeshConfig(fsdp=2, context=4)):
    with jax.set_mesh(make_mesh(mesh)):
        for attention in (partial(splash_attention, interpret=True), get_backend("xla")):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), outcome(attention), want)
print("equal")
"""


def test_attention_split_over_rows_places_and_heads_equals_that_on_one_device():
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", SPLIT], cwd=root, env=env, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr

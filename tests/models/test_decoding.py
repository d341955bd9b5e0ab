"""The kernel of attention over a cache, run without a GPU, against the plain form."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.engine import Engine
from agentbank_jax.models import forward
from agentbank_jax.models.attention import choose_cached, decoding
from agentbank_jax.models.attention.decoding import BLOCK, decode_attention
from agentbank_jax.models.attention.plain import plain_cached_attention
from agentbank_jax.models.kv_cache import KVCache
from agentbank_jax.models.llama_config import LlamaConfig

HEADS = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "dtype": "bfloat16"}


def draw(heads, kv_heads, length, size=16, rows=5):
    rng = np.random.default_rng(heads + kv_heads + length)
    shapes = (rows, 1, heads, size), (rows, length, kv_heads, size), (rows, length, kv_heads, size)
    return [jnp.asarray(rng.normal(size=shape), jnp.bfloat16) for shape in shapes]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "length", "splits"),
    [(2, 2, 50, 0), (2, 2, 3 * BLOCK + 9, 1), (4, 1, 2 * BLOCK, 3), (40, 2, 3 * BLOCK + 9, 2)],
)
def test_the_kernel_equals_the_plain_form(heads, kv_heads, length, splits):
    q, k, v = draw(heads, kv_heads, length)
    positions = jnp.asarray([[0], [length // 3], [min(BLOCK, length) - 1], [length - 2], [length - 1]], jnp.int32)
    out = decode_attention(q, k, v, positions, splits=splits, interpret=True)
    want = plain_cached_attention(*(x.astype(jnp.float32) for x in (q, k, v)), positions)
    assert out.dtype == jnp.bfloat16 and out.shape == q.shape
    # Weights and result are rounded to bfloat16.
    np.testing.assert_allclose(out.astype(jnp.float32), want, atol=0.02)


def test_the_kernel_reads_nothing_behind_a_rows_position():
    q, k, v = draw(2, 2, 3 * BLOCK)
    positions = jnp.asarray([[0], [7], [BLOCK - 1], [BLOCK], [2 * BLOCK]], jnp.int32)
    behind = (jnp.arange(3 * BLOCK) > positions)[:, :, None, None]
    poisoned = [jnp.where(behind, jnp.nan, x) for x in (k, v)]
    for splits in (1, 2):
        attend = jax.jit(partial(decode_attention, splits=splits, interpret=True))
        np.testing.assert_array_equal(attend(q, *poisoned, positions), attend(q, k, v, positions))


def test_padding_gets_numbers():
    q, k, v = draw(2, 2, BLOCK)
    past = jnp.full((5, 1), BLOCK, jnp.int32)
    for splits in (1, 2):
        assert np.isfinite(decode_attention(q, k, v, past, splits=splits, interpret=True).astype(np.float32)).all()


@pytest.fixture
def fresh_probe():
    decoding.probe.cache_clear()
    yield
    decoding.probe.cache_clear()


def one_place_too_many(q, k, v, positions, **_):
    return plain_cached_attention(q, k, v, positions + 1)


def none_of_a_second_split(q, k, v, positions, *, splits, **_):
    return plain_cached_attention(q, k, v, jnp.minimum(positions, BLOCK if splits > 1 else positions))


@pytest.mark.parametrize("broken", [one_place_too_many, none_of_a_second_split])
def test_a_kernel_that_differs_is_passed_over_by_auto_and_refused_by_name(broken, monkeypatch, fresh_probe, caplog):
    monkeypatch.setattr(decoding, "decode_attention", broken)
    assert choose_cached("auto", "gpu", **HEADS) == "xla"
    assert "passed over: it differs from the plain form by" in caplog.text
    with pytest.raises(AgentBankError, match=r"'triton' cannot be used on this gpu: it differs .*'auto'"):
        choose_cached("triton", "gpu", **HEADS)


def test_the_kernel_is_taken_where_it_passes(monkeypatch, fresh_probe):
    monkeypatch.setattr(
        decoding, "decode_attention", lambda *x, splits: decode_attention(*x, splits=splits, interpret=True)
    )
    assert choose_cached("auto", "gpu", **HEADS) == "triton"
    assert choose_cached("auto", "cpu", **HEADS) == choose_cached("xla", "gpu", **HEADS) == "xla"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"dtype": "float32"}, "computes in bfloat16 or float16, not in float32"),
        ({"head_dim": 24}, "heads of 24; expected a power of two"),
        ({"head_dim": 8}, "heads of 8; expected a power of two"),
    ],
)
def test_what_the_kernel_does_not_compute_is_refused_with_the_reason(other, reason):
    with pytest.raises(AgentBankError, match=reason):
        choose_cached("triton", "gpu", **(HEADS | other))


CONFIG = LlamaConfig(
    vocab_size=50, hidden_size=64, intermediate_size=32, num_layers=2, num_heads=4, num_kv_heads=2, dtype="bfloat16"
)


def test_an_engine_refuses_a_kernel_that_does_not_run_on_its_device(fresh_probe):
    config = replace(CONFIG, cached_attention="triton")
    with pytest.raises(AgentBankError, match=r"'triton' cannot be used on this cpu: it does not run .*'auto'"):
        Engine(config, forward.init(config), stop_ids=(), slots=2, max_length=64)


def test_a_step_of_the_model_takes_the_kernel_and_reading_a_prompt_does_not(monkeypatch):
    calls = []

    def counted(*operands):
        calls.append(operands[0].shape)
        return decode_attention(*operands, interpret=True)

    monkeypatch.setattr(decoding, "decode_attention", counted)
    params = forward.init(CONFIG)

    @partial(jax.jit, static_argnums=0)
    def logits(kind):
        config, tokens = replace(CONFIG, cached_attention=kind), jnp.arange(6)[None]
        _, cache = forward.apply(config, params, tokens[:, :5], tokens[:, :5], cache=KVCache.empty(config, 1, 16))
        return forward.apply(config, params, tokens[:, 5:], tokens[:, 5:], cache=cache)[0]

    plain = logits("xla")
    assert not calls
    np.testing.assert_allclose(logits("triton"), plain, atol=0.02)
    assert calls == [(1, 1, 4, 16)] * CONFIG.num_layers


def test_an_unknown_kind_gets_a_suggestion():
    with pytest.raises(AgentBankError, match=r"cached_attention='tritn' is no known kind.*triton"):
        replace(CONFIG, cached_attention="tritn")


def test_the_kernel_is_not_divided_over_a_mesh(monkeypatch):
    monkeypatch.setattr(decoding, "set_mesh_axes", lambda: {"tensor": 2})
    monkeypatch.setattr(decoding, "decode_attention", None)
    q, k, v = draw(2, 2, BLOCK)
    positions = jnp.full((5, 1), 9, jnp.int32)
    out = jax.jit(partial(decoding.cached_attention, kind="triton"))(q, k, v, positions)
    np.testing.assert_array_equal(out, jax.jit(plain_cached_attention)(q, k, v, positions))

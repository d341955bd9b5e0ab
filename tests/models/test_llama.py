"""Llama against an independent NumPy forward pass, and its own invariants."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.kv_cache import KVCache
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.rotary import rotary_frequencies, rotary_tables

CONFIG = LlamaConfig(
    vocab_size=61, hidden_size=32, intermediate_size=48, num_layers=3, num_heads=4, num_kv_heads=2, rope_theta=500.0
)


apply = jax.jit(forward.apply, static_argnums=0)


def _tokens(batch: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CONFIG.vocab_size, (batch, length), dtype=np.int32)


def _arange(batch: int, length: int) -> np.ndarray:
    return np.broadcast_to(np.arange(length, dtype=np.int32), (batch, length))


def numpy_llama(config: LlamaConfig, params, tokens: np.ndarray) -> np.ndarray:
    """One unpacked conversation, written token by token from the published definition, in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    size, groups = config.head_dim, config.num_heads // config.num_kv_heads

    def norm(x, scale):
        return x / np.sqrt((x * x).mean() + config.rms_norm_eps) * scale

    def rope(x, position):
        angle = position * config.rope_theta ** (-np.arange(size // 2) * 2 / size)
        out = np.empty_like(x)
        for i in range(size // 2):
            c, s = np.cos(angle[i]), np.sin(angle[i])
            out[i] = x[i] * c - x[i + size // 2] * s
            out[i + size // 2] = x[i + size // 2] * c + x[i] * s
        return out

    xs = [p["embed_tokens"]["embedding"][t] for t in tokens]
    for i in range(config.num_layers):
        layer = jax.tree.map(lambda leaf: leaf[i], p["layers"])  # noqa: B023
        attn, mlp = layer["self_attn"], layer["mlp"]
        keys, values = [], []
        for t, x in enumerate(xs):
            n = norm(x, layer["input_layernorm"]["scale"])
            q = (n @ attn["q_proj"]["kernel"]).reshape(config.num_heads, size)
            keys.append([rope(k, t) for k in (n @ attn["k_proj"]["kernel"]).reshape(-1, size)])
            values.append((n @ attn["v_proj"]["kernel"]).reshape(-1, size))
            heads = []
            for h in range(config.num_heads):
                scores = np.array([rope(q[h], t) @ keys[s][h // groups] for s in range(t + 1)]) / np.sqrt(size)
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                heads.append(sum(w * values[s][h // groups] for s, w in enumerate(weights)))
            x = x + np.concatenate(heads) @ attn["o_proj"]["kernel"]
            n = norm(x, layer["post_attention_layernorm"]["scale"])
            gate = n @ mlp["gate_proj"]["kernel"]
            x = x + (gate / (1 + np.exp(-gate)) * (n @ mlp["up_proj"]["kernel"])) @ mlp["down_proj"]["kernel"]
            xs[t] = x
    head = p["embed_tokens"]["embedding"].T if config.tie_word_embeddings else p["lm_head"]["kernel"]
    return np.stack([norm(x, p["norm"]["scale"]) @ head for x in xs])


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"num_kv_heads": 4}, {"head_dim": 6}])
def test_logits_equal_an_independent_numpy_forward(changes):
    config = dataclasses.replace(CONFIG, **changes)
    params = forward.init(config, 3)
    tokens = _tokens(1, 9)
    got, _ = apply(config, params, tokens, _arange(1, 9))
    np.testing.assert_allclose(got[0], numpy_llama(config, params, tokens[0]), atol=2e-5)


def test_packed_segments_do_not_see_each_other():
    params = forward.init(CONFIG, 0)
    first, second = _tokens(1, 5, 1), _tokens(1, 8, 2)
    tokens = np.concatenate([first, second, np.zeros((1, 3), np.int32)], 1)
    positions = np.concatenate([_arange(1, 5), _arange(1, 8), np.zeros((1, 3), np.int32)], 1)
    segments = np.array([[1] * 5 + [2] * 8 + [0] * 3], np.int32)
    packed, _ = apply(CONFIG, params, tokens, positions, segments)
    alone_first, _ = apply(CONFIG, params, first, _arange(1, 5))
    alone_second, _ = apply(CONFIG, params, second, _arange(1, 8))
    np.testing.assert_allclose(packed[:, :5], alone_first, atol=1e-5)
    np.testing.assert_allclose(packed[:, 5:13], alone_second, atol=1e-5)
    assert np.isfinite(packed).all()


def test_scanned_layers_equal_unrolled_ones_in_value_and_gradient():
    params = forward.init(CONFIG, 0)
    tokens, positions = _tokens(2, 7), _arange(2, 7)

    def loss(params, scan):
        config = dataclasses.replace(CONFIG, scan_layers=scan)
        return jnp.square(apply(config, params, tokens, positions)[0]).mean()

    value_and_grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    unrolled, grad_unrolled = value_and_grad(params, False)
    scanned, grad_scanned = value_and_grad(params, True)
    np.testing.assert_allclose(unrolled, scanned, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grad_unrolled, grad_scanned)


@pytest.mark.parametrize("scan", [False, True])
def test_a_cache_filled_in_uneven_chunks_gives_the_logits_of_one_pass(scan):
    config = dataclasses.replace(CONFIG, scan_layers=scan)
    params = forward.init(config, 0)
    tokens = _tokens(2, 10)
    whole, _ = apply(config, params, tokens, _arange(2, 10))
    cache = KVCache.empty(config, 2, 16)
    start = 0
    for size in (4, 1, 3, 2):
        padded = np.zeros((2, 5), np.int32)
        padded[:, :size] = tokens[:, start : start + size]
        slots = np.full((2, 5), cache.length, np.int32)  # padding: beyond the cache, never written
        slots[:, :size] = np.arange(start, start + size)
        got, cache = apply(config, params, padded, slots, cache=cache)
        np.testing.assert_allclose(got[:, :size], whole[:, start : start + size], atol=1e-5)
        start += size


def test_a_reused_cache_row_forgets_the_previous_conversation():
    params = forward.init(CONFIG, 0)
    _, cache = apply(CONFIG, params, _tokens(1, 10, 1), _arange(1, 10), cache=KVCache.empty(CONFIG, 1, 12))
    tokens = _tokens(1, 4, 2)
    reused, _ = apply(CONFIG, params, tokens, _arange(1, 4), cache=cache)
    fresh, _ = apply(CONFIG, params, tokens, _arange(1, 4))
    np.testing.assert_allclose(reused, fresh, atol=1e-5)


def test_parameters_are_counted_without_being_made():
    big = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_layers=32, num_heads=32)
    assert forward.count_parameters(big) == 6_738_415_616  # Llama-2 7B
    small = sum(leaf.size for leaf in jax.tree.leaves(forward.init(CONFIG)))
    assert forward.count_parameters(CONFIG) == small


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "not a multiple of num_heads=5"),
        ({"num_heads": 4, "num_kv_heads": 3}, "not a multiple of num_kv_heads=3"),
        ({"head_dim": 7}, "odd"),
        ({"dtype": "bfloat61"}, "Did you mean 'bfloat16'"),
        ({"attention": "xlaa"}, "Did you mean 'xla'"),
        ({"num_layers": 0}, "at least 1"),
        ({"family": "qwen"}, "family='qwen' is no known family. Did you mean 'qwen2'"),
        ({"rope_scaling": "linaer"}, "Did you mean 'linear'"),
        ({"head_dim": -8}, "head_dim=-8: expected 0 or more"),
        ({"max_position_embeddings": 0}, "max_position_embeddings=0: expected at least 1"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps=-1.0: expected 0 or more"),
        ({"rope_theta": 0.0}, "rope_theta=0.0: expected more than 0"),
        ({"rope_factor": 0.5}, "rope_factor=0.5: expected at least 1"),
        ({"rope_low_freq_factor": 5.0}, "less than rope_high_freq_factor=4.0"),
        ({"rope_original_max_position": 0}, "at least 1"),
    ],
)
def test_an_impossible_shape_says_what_is_wrong(changes, message):
    base = {**dataclasses.asdict(CONFIG), "num_kv_heads": 0, "head_dim": 0, **changes}
    with pytest.raises(AgentBankError, match=message):
        LlamaConfig(**base)


def published_llama3_frequencies(dim, theta, factor, low, high, original):
    """Llama 3.1's rule by wavelengths, one pair after the other, in float64."""
    scaled = []
    for i in range(dim // 2):
        frequency = 1.0 / theta ** (2 * i / dim)
        wavelength = 2 * np.pi / frequency
        if wavelength < original / high:
            scaled.append(frequency)
        elif wavelength > original / low:
            scaled.append(frequency / factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            scaled.append((1 - smooth) * frequency / factor + smooth * frequency)
    return np.array(scaled)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3_scaling_follows_the_published_rule(factor):
    config = dataclasses.replace(
        CONFIG, head_dim=128, rope_theta=500000.0, rope_scaling="llama3", rope_factor=factor,
        rope_low_freq_factor=1.0, rope_high_freq_factor=4.0, rope_original_max_position=8192,
    )  # fmt: skip
    expected = published_llama3_frequencies(128, 500000.0, factor, 1.0, 4.0, 8192)
    plain = rotary_frequencies(dataclasses.replace(config, rope_scaling="none"))
    got = rotary_frequencies(config)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    # All three parts of the rule are met.
    share = got / plain
    assert np.isclose(share, 1).sum() > 10 and np.isclose(share, 1 / factor).sum() > 10
    assert ((share < 0.99) & (share > 1.01 / factor)).sum() > 2


def test_linear_scaling_is_positions_that_grow_more_slowly():
    scaled = dataclasses.replace(CONFIG, rope_scaling="linear", rope_factor=4.0)
    positions = 4 * _arange(1, 9)
    for got, expected in zip(rotary_tables(positions, scaled), rotary_tables(_arange(1, 9), CONFIG), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_qwen2_adds_a_bias_to_queries_keys_and_values():
    config = dataclasses.replace(CONFIG, family="qwen2")
    params = forward.init(config, 0)
    assert all("bias" in params["layers"]["self_attn"][name] for name in ("q_proj", "k_proj", "v_proj"))
    assert "bias" not in params["layers"]["self_attn"]["o_proj"]
    tokens = _tokens(1, 6)
    plain = forward.init(CONFIG, 0)
    np.testing.assert_array_equal(
        apply(config, params, tokens, _arange(1, 6))[0], apply(CONFIG, plain, tokens, _arange(1, 6))[0]
    )
    moved = jax.tree.map(lambda leaf: leaf, params)
    moved["layers"]["self_attn"]["v_proj"]["bias"] = params["layers"]["self_attn"]["v_proj"]["bias"] + 1.0
    assert (
        np.abs(apply(config, moved, tokens, _arange(1, 6))[0] - apply(config, params, tokens, _arange(1, 6))[0]).max()
        > 0.01
    )

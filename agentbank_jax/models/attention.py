"""Attention backends for packed rows, and attention over a cache.

A backend takes q [B, T, H, h], k and v [B, T, K, h] and segment ids int32 [B, T], and returns
[B, T, H, h]. Token t attends to the tokens s <= t of its own segment. Segments are contiguous;
padding is segment 0 and its output is never used.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from agentbank_jax.errors import AgentBankError, did_you_mean

Backend = Callable[
    [Float[Array, "B T H h"], Float[Array, "B T K h"], Float[Array, "B T K h"], Int[Array, "B T"] | None],
    Float[Array, "B T H h"],
]

_BACKENDS: dict[str, Backend] = {}


def register_backend(name: str) -> Callable[[Backend], Backend]:
    """Decorator: makes a backend known by `name` (the value of `LlamaConfig.attention`)."""

    def add(backend: Backend) -> Backend:
        _BACKENDS[name] = backend
        return backend

    return add


def get_backend(name: str) -> Backend:
    """The backend called `name`.

    Raises:
      AgentBankError: there is none.
    """
    if name not in _BACKENDS:
        raise AgentBankError(f"Attention backend {name!r} does not exist." + did_you_mean(name, _BACKENDS))
    return _BACKENDS[name]


def masked_attention(
    q_BTHh: Float[Array, "B T H h"],
    k_BSKh: Float[Array, "B S K h"],
    v_BSKh: Float[Array, "B S K h"],
    allowed_BTS: Bool[Array, "B T S"],
) -> Float[Array, "B T H h"]:
    """softmax(q k / sqrt(h)) v over the allowed keys, with the softmax in float32."""
    batch, length, heads, size = q_BTHh.shape
    kv_heads = k_BSKh.shape[2]
    q_BTKGh = (q_BTHh * size**-0.5).reshape(batch, length, kv_heads, heads // kv_heads, size)
    scores_BKGTS = jnp.einsum("btkgh,bskh->bkgts", q_BTKGh, k_BSKh, preferred_element_type=jnp.float32)
    # A finite lowest value: a row without any allowed key (padding of a decode batch) stays free of NaN.
    scores_BKGTS = jnp.where(allowed_BTS[:, None, None], scores_BKGTS, jnp.finfo(jnp.float32).min)
    weights_BKGTS = jax.nn.softmax(scores_BKGTS, axis=-1).astype(v_BSKh.dtype)
    out_BTKGh = jnp.einsum("bkgts,bskh->btkgh", weights_BKGTS, v_BSKh)
    return out_BTKGh.reshape(q_BTHh.shape).astype(q_BTHh.dtype)


@register_backend("reference")
def reference_attention(q_BTHh, k_BTKh, v_BTKh, segment_ids_BT):
    """Plain attention, which holds all [T, T] scores: what the other backends are compared with."""
    length = q_BTHh.shape[1]
    allowed_BTS = jnp.tril(jnp.ones((length, length), bool))[None]
    if segment_ids_BT is not None:
        allowed_BTS = allowed_BTS & (segment_ids_BT[:, :, None] == segment_ids_BT[:, None, :])
    return masked_attention(q_BTHh, k_BTKh, v_BTKh, allowed_BTS)


@register_backend("xla")
def xla_attention(q_BTHh, k_BTKh, v_BTKh, segment_ids_BT):
    """Attention by blocks of queries, each over the keys up to its end; scores are made again for the gradient.

    Half the scores of the plain form are never made, and none are kept (FlashAttention 2, Dao, 2023,
    with static blocks). On CPU, rows of 512: 2.3 times as fast as the plain form.
    """
    batch, length, heads, size = q_BTHh.shape
    if segment_ids_BT is None:
        segment_ids_BT = jnp.ones((batch, length), jnp.int32)
    groups = heads // k_BTKh.shape[2]

    def heads_first(x):
        return x.swapaxes(1, 2)

    # One head axis, keys repeated where heads share them: with a second axis of groups XLA on CPU writes all
    # scores once more, transposed, for the gradients.
    k_BHSh, v_BHSh = (
        jnp.repeat(heads_first(x), groups, axis=1) if groups > 1 else heads_first(x) for x in (k_BTKh, v_BTKh)
    )
    return heads_first(_blockwise(heads_first(q_BTHh * size**-0.5), k_BHSh, v_BHSh, segment_ids_BT))


def _blocks(length: int) -> list[tuple[int, int]]:
    """Bounds of the query blocks: of 128, or so long that there are at most 16."""
    block = max(128, -(-length // 16))
    return [(start, min(start + block, length)) for start in range(0, length, block)]


def _block_scores(q_BHTh, k_BHSh, segment_ids_BT, start, stop):
    """Scores of the queries start..stop over the keys 0..stop, float32, with a finite lowest value where masked."""
    scores_BHTS = jnp.einsum(
        "bhtd,bhsd->bhts", q_BHTh[:, :, start:stop], k_BHSh[:, :, :stop], preferred_element_type=jnp.float32
    )
    causal_TS = jnp.arange(start, stop)[:, None] >= jnp.arange(stop)[None]
    same_BTS = segment_ids_BT[:, start:stop, None] == segment_ids_BT[:, None, :stop]
    return jnp.where((causal_TS & same_BTS)[:, None], scores_BHTS, jnp.finfo(jnp.float32).min)


@jax.custom_vjp
def _blockwise(q_BHTh, k_BHSh, v_BHSh, segment_ids_BT):
    return _blockwise_forward(q_BHTh, k_BHSh, v_BHSh, segment_ids_BT)[0]


def _blockwise_forward(q_BHTh, k_BHSh, v_BHSh, segment_ids_BT):
    outs, logsums = [], []
    for start, stop in _blocks(q_BHTh.shape[2]):
        scores_BHTS = _block_scores(q_BHTh, k_BHSh, segment_ids_BT, start, stop)
        highest_BHT1 = jnp.max(scores_BHTS, axis=-1, keepdims=True)
        weights_BHTS = jnp.exp(scores_BHTS - highest_BHT1)
        total_BHT1 = jnp.sum(weights_BHTS, axis=-1, keepdims=True)
        out_BHTh = jnp.einsum("bhts,bhsd->bhtd", weights_BHTS.astype(v_BHSh.dtype), v_BHSh[:, :, :stop])
        outs.append((out_BHTh / total_BHT1).astype(q_BHTh.dtype))
        logsums.append(highest_BHT1 + jnp.log(total_BHT1))
    out_BHTh, logsum_BHT1 = jnp.concatenate(outs, axis=2), jnp.concatenate(logsums, axis=2)
    return out_BHTh, (q_BHTh, k_BHSh, v_BHSh, segment_ids_BT, out_BHTh, logsum_BHT1)


def _blockwise_backward(residuals, grad_BHTh):
    q_BHTh, k_BHSh, v_BHSh, segment_ids_BT, out_BHTh, logsum_BHT1 = residuals
    # The part of the softmax's gradient that is the same for all keys of a query.
    common_BHT1 = jnp.sum((out_BHTh * grad_BHTh).astype(jnp.float32), axis=-1, keepdims=True)
    grads_q = []
    grad_k_BHSh, grad_v_BHSh = jnp.zeros_like(k_BHSh), jnp.zeros_like(v_BHSh)
    for start, stop in _blocks(q_BHTh.shape[2]):
        scores_BHTS = _block_scores(q_BHTh, k_BHSh, segment_ids_BT, start, stop)
        weights_BHTS = jnp.exp(scores_BHTS - logsum_BHT1[:, :, start:stop])
        grad_block = grad_BHTh[:, :, start:stop]
        grad_weights_BHTS = jnp.einsum(
            "bhtd,bhsd->bhts", grad_block, v_BHSh[:, :, :stop], preferred_element_type=jnp.float32
        )
        grad_scores_BHTS = weights_BHTS * (grad_weights_BHTS - common_BHT1[:, :, start:stop])
        grad_scores_BHTS = grad_scores_BHTS.astype(q_BHTh.dtype)
        grads_q.append(jnp.einsum("bhts,bhsd->bhtd", grad_scores_BHTS, k_BHSh[:, :, :stop]))
        grad_k_BHSh = grad_k_BHSh.at[:, :, :stop].add(
            jnp.einsum("bhts,bhtd->bhsd", grad_scores_BHTS, q_BHTh[:, :, start:stop])
        )
        grad_v_BHSh = grad_v_BHSh.at[:, :, :stop].add(
            jnp.einsum("bhts,bhtd->bhsd", weights_BHTS.astype(v_BHSh.dtype), grad_block)
        )
    return jnp.concatenate(grads_q, axis=2), grad_k_BHSh, grad_v_BHSh, None


_blockwise.defvjp(_blockwise_forward, _blockwise_backward)


def cached_attention(
    q_BTHh: Float[Array, "B T H h"],
    k_BSKh: Float[Array, "B S K h"],
    v_BSKh: Float[Array, "B S K h"],
    positions_BT: Int[Array, "B T"],
) -> Float[Array, "B T H h"]:
    """Attention of new tokens over a cache that already holds them: position p reads slots 0..p."""
    allowed_BTS = jnp.arange(k_BSKh.shape[1])[None, None, :] <= positions_BT[:, :, None]
    return masked_attention(q_BTHh, k_BSKh.astype(q_BTHh.dtype), v_BSKh.astype(q_BTHh.dtype), allowed_BTS)

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
    kv_heads = k_BTKh.shape[2]
    if segment_ids_BT is None:
        segment_ids_BT = jnp.ones((batch, length), jnp.int32)
    q_BKGTh = (q_BTHh * size**-0.5).reshape(batch, length, kv_heads, heads // kv_heads, size).transpose(0, 2, 3, 1, 4)
    out_BKGTh = _blockwise(q_BKGTh, k_BTKh.swapaxes(1, 2), v_BTKh.swapaxes(1, 2), segment_ids_BT)
    return out_BKGTh.transpose(0, 3, 1, 2, 4).reshape(q_BTHh.shape)


def _blocks(length: int) -> list[tuple[int, int]]:
    """Bounds of the query blocks: of 128, or so long that there are at most 16."""
    block = max(128, -(-length // 16))
    return [(start, min(start + block, length)) for start in range(0, length, block)]


def _block_scores(q_BKGTh, k_BKSh, segment_ids_BT, start, stop):
    """Scores of the queries start..stop over the keys 0..stop, float32, with a finite lowest value where masked."""
    scores_BKGTS = jnp.einsum(
        "bkgth,bksh->bkgts", q_BKGTh[:, :, :, start:stop], k_BKSh[:, :, :stop], preferred_element_type=jnp.float32
    )
    causal_TS = jnp.arange(start, stop)[:, None] >= jnp.arange(stop)[None]
    same_BTS = segment_ids_BT[:, start:stop, None] == segment_ids_BT[:, None, :stop]
    return jnp.where((causal_TS & same_BTS)[:, None, None], scores_BKGTS, jnp.finfo(jnp.float32).min)


@jax.custom_vjp
def _blockwise(q_BKGTh, k_BKSh, v_BKSh, segment_ids_BT):
    return _blockwise_forward(q_BKGTh, k_BKSh, v_BKSh, segment_ids_BT)[0]


def _blockwise_forward(q_BKGTh, k_BKSh, v_BKSh, segment_ids_BT):
    outs, logsums = [], []
    for start, stop in _blocks(q_BKGTh.shape[3]):
        scores_BKGTS = _block_scores(q_BKGTh, k_BKSh, segment_ids_BT, start, stop)
        highest_BKGT1 = jnp.max(scores_BKGTS, axis=-1, keepdims=True)
        weights_BKGTS = jnp.exp(scores_BKGTS - highest_BKGT1)
        total_BKGT1 = jnp.sum(weights_BKGTS, axis=-1, keepdims=True)
        out_BKGTh = jnp.einsum("bkgts,bksh->bkgth", weights_BKGTS.astype(v_BKSh.dtype), v_BKSh[:, :, :stop])
        outs.append((out_BKGTh / total_BKGT1).astype(q_BKGTh.dtype))
        logsums.append(highest_BKGT1 + jnp.log(total_BKGT1))
    out_BKGTh, logsum_BKGT1 = jnp.concatenate(outs, axis=3), jnp.concatenate(logsums, axis=3)
    return out_BKGTh, (q_BKGTh, k_BKSh, v_BKSh, segment_ids_BT, out_BKGTh, logsum_BKGT1)


def _blockwise_backward(residuals, grad_BKGTh):
    q_BKGTh, k_BKSh, v_BKSh, segment_ids_BT, out_BKGTh, logsum_BKGT1 = residuals
    # The part of the softmax's gradient that is the same for all keys of a query.
    common_BKGT1 = jnp.sum((out_BKGTh * grad_BKGTh).astype(jnp.float32), axis=-1, keepdims=True)
    grads_q = []
    grad_k_BKSh, grad_v_BKSh = jnp.zeros_like(k_BKSh), jnp.zeros_like(v_BKSh)
    for start, stop in _blocks(q_BKGTh.shape[3]):
        scores_BKGTS = _block_scores(q_BKGTh, k_BKSh, segment_ids_BT, start, stop)
        weights_BKGTS = jnp.exp(scores_BKGTS - logsum_BKGT1[:, :, :, start:stop])
        grad_block = grad_BKGTh[:, :, :, start:stop]
        grad_weights_BKGTS = jnp.einsum(
            "bkgth,bksh->bkgts", grad_block, v_BKSh[:, :, :stop], preferred_element_type=jnp.float32
        )
        grad_scores_BKGTS = weights_BKGTS * (grad_weights_BKGTS - common_BKGT1[:, :, :, start:stop])
        grad_scores_BKGTS = grad_scores_BKGTS.astype(q_BKGTh.dtype)
        grads_q.append(jnp.einsum("bkgts,bksh->bkgth", grad_scores_BKGTS, k_BKSh[:, :, :stop]))
        grad_k_BKSh = grad_k_BKSh.at[:, :, :stop].add(
            jnp.einsum("bkgts,bkgth->bksh", grad_scores_BKGTS, q_BKGTh[:, :, :, start:stop])
        )
        grad_v_BKSh = grad_v_BKSh.at[:, :, :stop].add(
            jnp.einsum("bkgts,bkgth->bksh", weights_BKGTS.astype(v_BKSh.dtype), grad_block)
        )
    return jnp.concatenate(grads_q, axis=3), grad_k_BKSh, grad_v_BKSh, None


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

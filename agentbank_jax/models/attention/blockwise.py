"""Attention by blocks of queries and keys, for every platform: memory grows with the length, not with its square.

FlashAttention-2 (Dao, 2023) as loops of XLA: a block of queries goes over the blocks of keys from the first that its
segments reach to its own, with a running maximum and sum of the softmax; the gradient makes the scores again.
Blocks before a segment's begin are skipped, so that packed rows cost what their segments cost. Rows are
taken one after another, because each has other blocks to skip.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from agentbank_jax.models.attention.registry import register_backend
from agentbank_jax.models.partitioning import per_device

BLOCK = 128
"""Queries, and keys, of a block; fewer where there are fewer."""

LOWEST = jnp.finfo(jnp.float32).min

_exact = partial(jnp.einsum, preferred_element_type=jnp.float32)


@register_backend("xla")
def xla_attention(q_BTHh, k_BTKh, v_BTKh, segment_ids_BT, max_segments=0):
    """Over a `context` axis each device has its part of the queries, and all keys."""
    del max_segments
    batch, length, _, size = q_BTHh.shape
    if segment_ids_BT is None:
        segment_ids_BT = jnp.ones((batch, length), jnp.int32)
    places_BT = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), (batch, length))

    def attend(_, q_BTHh, k_BSKh, v_BSKh, starts_BT, places_BT):
        # One head axis: with a second one of groups XLA on CPU writes all scores once more, transposed.
        groups = q_BTHh.shape[2] // k_BSKh.shape[2]
        q_BHTh, k_BKSh, v_BKSh = (x.swapaxes(1, 2) for x in (q_BTHh * size**-0.5, k_BSKh, v_BSKh))
        k_BHSh, v_BHSh = (jnp.repeat(x, groups, axis=1) if groups > 1 else x for x in (k_BKSh, v_BKSh))
        return _whole_blocks(q_BHTh, k_BHSh, v_BHSh, starts_BT, places_BT).swapaxes(1, 2)

    return per_device(
        attend,
        q_BTHh,
        k_BTKh,
        v_BTKh,
        segment_starts(segment_ids_BT),
        places_BT,
        over_length=(True, False, False, True, True),
    )


def segment_starts(segment_ids_BT: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """The place at which each token's segment begins."""
    begins_BT = jnp.diff(segment_ids_BT, axis=1, prepend=-1) != 0
    places_T = jnp.arange(segment_ids_BT.shape[1], dtype=jnp.int32)
    return jax.lax.cummax(jnp.where(begins_BT, places_T, 0), axis=1)


def _whole_blocks(
    q_BHTh: Float[Array, "B H T h"],
    k_BHSh: Float[Array, "B H S h"],
    v_BHSh: Float[Array, "B H S h"],
    starts_BT: Int[Array, "B T"],
    places_BT: Int[Array, "B T"],
) -> Float[Array, "B H T h"]:
    """Attention of queries to the keys from `starts_BT` to `places_BT`, filled up to whole blocks."""

    def filled(x, axis, mode="constant"):
        missing = -x.shape[axis] % min(BLOCK, x.shape[axis])
        return jnp.pad(x, [(0, missing if axis == other else 0) for other in range(x.ndim)], mode=mode)

    q_filled, k_BHSh, v_BHSh = (filled(x, 2) for x in (q_BHTh, k_BHSh, v_BHSh))
    # Queries that only fill a block do as the last one does; nobody attends to keys that only do.
    starts_BT, places_BT = (filled(x, 1, "edge") for x in (starts_BT, places_BT))
    return _blockwise(q_filled, k_BHSh, v_BHSh, starts_BT, places_BT)[:, :, : q_BHTh.shape[2]]


def _block(x: Array, row: Array, index: Array) -> Array:
    """Block `index` of a row of x [B, H, T, h], or of x [B, T]: [H, t, h], or [t]."""
    size = min(BLOCK, x.shape[-2] if x.ndim == 4 else x.shape[1])
    if x.ndim == 2:
        return jax.lax.dynamic_slice(x, (row, index * size), (1, size))[0]
    return jax.lax.dynamic_slice(x, (row, 0, index * size, 0), (1, x.shape[1], size, x.shape[3]))[0]


def _put(x: Array, row: Array, index: Array, block: Array) -> Array:
    return jax.lax.dynamic_update_slice(x, block[None], (row, 0, index * block.shape[1], 0))


def _over_queries(body, q_BHTh: Array, carry):
    """`body(row, block, carry)` for every block of queries of every row."""
    batch, _, length, _ = q_BHTh.shape
    blocks = length // min(BLOCK, length)
    return jax.lax.fori_loop(0, batch * blocks, lambda n, carry: body(n // blocks, n % blocks, carry), carry)


def _over_keys(body, starts_t: Array, places_t: Array, k_BHSh: Array, carry):
    """`body(block, carry)` for the blocks of keys from the first that any query attends to, to the last."""
    size = min(BLOCK, k_BHSh.shape[2])
    return jax.lax.fori_loop(jnp.min(starts_t) // size, jnp.max(places_t) // size + 1, body, carry)


def _scores(q_Hth, k_Hsh, starts_t, places_t, j):
    """Scores over the keys of block j, float32, with a finite lowest value where masked."""
    keys_s = j * k_Hsh.shape[1] + jnp.arange(k_Hsh.shape[1])
    allowed_ts = (starts_t[:, None] <= keys_s) & (keys_s <= places_t[:, None])
    return jnp.where(allowed_ts, _exact("htd,hsd->hts", q_Hth, k_Hsh), LOWEST)


@jax.custom_vjp
def _blockwise(q_BHTh, k_BHSh, v_BHSh, starts_BT, places_BT):
    return _blockwise_forward(q_BHTh, k_BHSh, v_BHSh, starts_BT, places_BT)[0]


def _blockwise_forward(q_BHTh, k_BHSh, v_BHSh, starts_BT, places_BT):
    def queries(row, i, carry):
        q_Hth, starts_t, places_t = (_block(x, row, i) for x in (q_BHTh, starts_BT, places_BT))

        def keys(j, carry):
            highest_Ht1, total_Ht1, out_Hth = carry
            scores_Hts = _scores(q_Hth, _block(k_BHSh, row, j), starts_t, places_t, j)
            new_Ht1 = jnp.maximum(highest_Ht1, jnp.max(scores_Hts, axis=-1, keepdims=True))
            weights_Hts, kept_Ht1 = jnp.exp(scores_Hts - new_Ht1), jnp.exp(highest_Ht1 - new_Ht1)
            added_Hth = _exact("hts,hsd->htd", weights_Hts.astype(v_BHSh.dtype), _block(v_BHSh, row, j))
            total_Ht1 = total_Ht1 * kept_Ht1 + jnp.sum(weights_Hts, axis=-1, keepdims=True)
            return new_Ht1, total_Ht1, out_Hth * kept_Ht1 + added_Hth

        # What a block adds to a query that may see none of its keys is scaled by exp(LOWEST - a score) = 0 as soon
        # as one comes that it may see: its own place, at the latest.
        nothing_Ht1 = jnp.zeros((*q_Hth.shape[:2], 1), jnp.float32)
        empty = (nothing_Ht1 + LOWEST, nothing_Ht1, jnp.zeros(q_Hth.shape, jnp.float32))
        highest_Ht1, total_Ht1, out_Hth = _over_keys(keys, starts_t, places_t, k_BHSh, empty)
        out_BHTh, logsum_BHT1 = carry
        out_Hth = (out_Hth / total_Ht1).astype(out_BHTh.dtype)
        return _put(out_BHTh, row, i, out_Hth), _put(logsum_BHT1, row, i, highest_Ht1 + jnp.log(total_Ht1))

    unfilled = (jnp.zeros_like(q_BHTh), jnp.zeros((*q_BHTh.shape[:3], 1), jnp.float32))
    out_BHTh, logsum_BHT1 = _over_queries(queries, q_BHTh, unfilled)
    # Named, so that a layer that is made again for its gradient can keep them.
    out_BHTh = checkpoint_name(out_BHTh, "attention")
    logsum_BHT1 = checkpoint_name(logsum_BHT1, "attention_logsum")
    return out_BHTh, (q_BHTh, k_BHSh, v_BHSh, starts_BT, places_BT, out_BHTh, logsum_BHT1)


def _blockwise_backward(residuals, grad_BHTh):
    q_BHTh, k_BHSh, v_BHSh, starts_BT, places_BT, out_BHTh, logsum_BHT1 = residuals
    dtype = q_BHTh.dtype
    # The part of the softmax's gradient that is the same for all keys of a query.
    common_BHT1 = jnp.sum((out_BHTh * grad_BHTh).astype(jnp.float32), axis=-1, keepdims=True)

    def queries(row, i, carry):
        q_Hth, grad_Hth, logsum_Ht1, common_Ht1, starts_t, places_t = (
            _block(x, row, i) for x in (q_BHTh, grad_BHTh, logsum_BHT1, common_BHT1, starts_BT, places_BT)
        )

        def keys(j, carry):
            grad_q_Hth, grad_k_BHSh, grad_v_BHSh = carry
            k_Hsh, v_Hsh = _block(k_BHSh, row, j), _block(v_BHSh, row, j)
            weights_Hts = jnp.exp(_scores(q_Hth, k_Hsh, starts_t, places_t, j) - logsum_Ht1)
            grad_weights_Hts = _exact("htd,hsd->hts", grad_Hth, v_Hsh)
            grad_scores_Hts = (weights_Hts * (grad_weights_Hts - common_Ht1)).astype(dtype)
            grad_k_Hsh = _exact("hts,htd->hsd", grad_scores_Hts, q_Hth)
            grad_v_Hsh = _exact("hts,htd->hsd", weights_Hts.astype(dtype), grad_Hth)
            return (
                grad_q_Hth + _exact("hts,hsd->htd", grad_scores_Hts, k_Hsh),
                _put(grad_k_BHSh, row, j, _block(grad_k_BHSh, row, j) + grad_k_Hsh),
                _put(grad_v_BHSh, row, j, _block(grad_v_BHSh, row, j) + grad_v_Hsh),
            )

        grad_q_BHTh, *grads_kv = carry
        start = (jnp.zeros(q_Hth.shape, jnp.float32), *grads_kv)
        grad_q_Hth, *grads_kv = _over_keys(keys, starts_t, places_t, k_BHSh, start)
        return _put(grad_q_BHTh, row, i, grad_q_Hth.astype(dtype)), *grads_kv

    unfilled = (jnp.zeros_like(q_BHTh), *(jnp.zeros(x.shape, jnp.float32) for x in (k_BHSh, v_BHSh)))
    grad_q_BHTh, grad_k_BHSh, grad_v_BHSh = _over_queries(queries, q_BHTh, unfilled)
    return grad_q_BHTh, grad_k_BHSh.astype(dtype), grad_v_BHSh.astype(dtype), None, None


_blockwise.defvjp(_blockwise_forward, _blockwise_backward)

"""Attention that holds all scores: the reference, and the one over a cache."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from agentbank_jax.models.attention.registry import register_backend


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
def reference_attention(q_BTHh, k_BTKh, v_BTKh, segment_ids_BT, max_segments=0):
    """Plain attention, which holds all [T, T] scores: what the other backends are compared with."""
    del max_segments
    length = q_BTHh.shape[1]
    allowed_BTS = jnp.tril(jnp.ones((length, length), bool))[None]
    if segment_ids_BT is not None:
        allowed_BTS = allowed_BTS & (segment_ids_BT[:, :, None] == segment_ids_BT[:, None, :])
    return masked_attention(q_BTHh, k_BTKh, v_BTKh, allowed_BTS)


def plain_cached_attention(
    q_BTHh: Float[Array, "B T H h"],
    k_BSKh: Float[Array, "B S K h"],
    v_BSKh: Float[Array, "B S K h"],
    positions_BT: Int[Array, "B T"],
) -> Float[Array, "B T H h"]:
    """Attention of new tokens over a cache that already holds them: position p reads slots 0..p."""
    allowed_BTS = jnp.arange(k_BSKh.shape[1])[None, None, :] <= positions_BT[:, :, None]
    return masked_attention(q_BTHh, k_BSKh.astype(q_BTHh.dtype), v_BSKh.astype(q_BTHh.dtype), allowed_BTS)

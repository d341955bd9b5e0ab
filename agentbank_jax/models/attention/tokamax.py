"""Attention of tokamax, a library of kernels for GPUs and TPUs (extra `[tokamax]`, from jax 0.11 on)."""

import jax.numpy as jnp

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.attention.registry import register_backend
from agentbank_jax.models.partitioning import per_device


@register_backend("tokamax")
def tokamax_attention(q_BTHh, k_BTKh, v_BTKh, segment_ids_BT, max_segments=0):
    """Segments are told apart by a mask [B, 1, T, T], one byte a pair of places, which is made again in each layer."""
    del max_segments
    try:
        import tokamax
    except ImportError as error:
        raise AgentBankError(
            f"Attention backend 'tokamax' needs the library tokamax ({error}): pip install 'agentbank_jax[tokamax]' "
            "on Python 3.12 or later."
        ) from None

    if segment_ids_BT is None:
        segment_ids_BT = jnp.ones(q_BTHh.shape[:2], jnp.int32)

    def attend(_, q_BTHh, k_BTKh, v_BTKh, segment_ids_BT):
        same_B1TS = segment_ids_BT[:, None, :, None] == segment_ids_BT[:, None, None, :]
        return tokamax.dot_product_attention(q_BTHh, k_BTKh, v_BTKh, mask=same_B1TS, is_causal=True)

    return per_device(attend, q_BTHh, k_BTKh, v_BTKh, segment_ids_BT, over_length=(False,) * 4)

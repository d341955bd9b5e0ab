"""Splash attention, JAX's Pallas kernel for TPUs: blocks that hold nothing to attend to are skipped."""

import jax
import jax.numpy as jnp

from agentbank_jax.models.attention.registry import register_backend
from agentbank_jax.models.partitioning import parts, per_device

BLOCKS = (512, 256, 128)
"""Tokens of a block, largest first: the first that divides a device's part of the row is taken."""


@register_backend("splash", platforms=("tpu",))
def splash_attention(q_BTHh, k_BTKh, v_BTKh, segment_ids_BT, max_segments=0, interpret=False):
    """Segments are told apart by their ids within the blocks. Rows need a multiple of 128 tokens a device.

    Over a `context` axis each device has its part of the queries, and all keys. `interpret` runs the kernel
    without a TPU, slowly.
    """
    del max_segments
    batch, length, heads, size = q_BTHh.shape
    if segment_ids_BT is None:
        segment_ids_BT = jnp.ones((batch, length), jnp.int32)
    kernel = _kernel(heads // parts("heads"), length, parts("length"), interpret)

    def attend(kernel, q_BTHh, k_BSKh, v_BSKh, query_ids_BT, key_ids_BS):
        from jax.experimental.pallas.ops.tpu.splash_attention import SegmentIds

        q_BHTh, k_BKSh, v_BKSh = (x.swapaxes(1, 2) for x in (q_BTHh * size**-0.5, k_BSKh, v_BSKh))
        out_BHTh = jax.vmap(lambda q, k, v, query_ids, key_ids: kernel(q, k, v, SegmentIds(query_ids, key_ids)))(
            q_BHTh, k_BKSh, v_BKSh, query_ids_BT, key_ids_BS
        )
        return out_BHTh.swapaxes(1, 2).astype(q_BTHh.dtype)

    return per_device(
        attend,
        q_BTHh,
        k_BTKh,
        v_BTKh,
        segment_ids_BT,
        segment_ids_BT,
        over_length=(True, False, False, True, False),
        kernel=kernel,
        kernel_specs=kernel.manual_sharding_spec,
    )


def _kernel(heads: int, length: int, parts: int, interpret: bool):
    """The kernel for rows of `length`, of whose queries a device has one of `parts` parts."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask

    block = next((block for block in BLOCKS if length % (block * parts) == 0), None)
    if block is None:
        raise NotImplementedError(f"rows of {length} tokens; expected a multiple of {BLOCKS[-1] * parts}")
    return splash_attention_kernel.make_splash_mha(
        splash_attention_mask.MultiHeadMask([splash_attention_mask.CausalMask((length, length))] * heads),
        block_sizes=splash_attention_kernel.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            use_fused_bwd_kernel=True,
        ),
        head_shards=1,
        q_seq_shards=parts,
        residual_checkpoint_name="attention",
        interpret=interpret,
    )

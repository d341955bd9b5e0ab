"""cuDNN's fused attention, for NVIDIA GPUs from Hopper on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from agentbank_jax.models.attention.registry import register_backend

DEFAULT_SEGMENTS = 64


@register_backend("cudnn", platforms=("gpu",), dtypes=("bfloat16", "float16"), bounds_segments=True)
def cudnn_attention(q_BTHh, k_BTKh, v_BTKh, segment_ids_BT, max_segments=0):
    """Each segment is a sequence of its own, so that nothing is computed between segments.

    bfloat16 and float16 only; packed rows need compute capability 9.0. The memory of the gradient grows with
    `max_segments` (0 means 64): on one H200, 4 rows of 4,096 take 4 GB more with 16 than with whole rows.
    """
    scale = q_BTHh.shape[-1] ** -0.5
    # Padding stands at a row's end, where causality hides it from the one segment before it.
    if segment_ids_BT is None or max_segments == 1:
        return jax.nn.dot_product_attention(q_BTHh, k_BTKh, v_BTKh, scale=scale, is_causal=True, implementation="cudnn")
    # JAX has no public function that hands the offsets of segments on. `choose_backend` tries this one.
    from jax._src.cudnn.fused_attention_stablehlo import MaskType, dot_product_attention

    starts_BM, lengths_BM = segment_bounds(segment_ids_BT, (max_segments or DEFAULT_SEGMENTS) + 1)
    offsets_BM1 = jnp.pad(starts_BM, ((0, 0), (0, 1)), constant_values=-1)
    return dot_product_attention(
        q_BTHh,
        k_BTKh,
        v_BTKh,
        q_seqlen=lengths_BM,
        kv_seqlen=lengths_BM,
        q_offsets=offsets_BM1,
        kv_offsets=offsets_BM1,
        scale=scale,
        mask_type=MaskType.PADDING_CAUSAL,
    )


def segment_bounds(segment_ids_BT: Int[Array, "B T"], most: int) -> tuple[Int[Array, "B M"], Int[Array, "B M"]]:
    """Where the segments of each row start, and how long they are; -1 after the last.

    Padding at the end of a row counts as a segment. A row of more than `most` segments loses its last ones:
    the caller sees to it that there is none.
    """
    length = segment_ids_BT.shape[1]
    begins_BT = jnp.diff(segment_ids_BT, axis=1, prepend=-1) != 0
    starts_BM = jax.vmap(lambda begins_T: jnp.nonzero(begins_T, size=most, fill_value=-1)[0])(begins_BT)
    starts_BM = starts_BM.astype(jnp.int32)
    ends_BM = jnp.pad(starts_BM[:, 1:], ((0, 0), (0, 1)), constant_values=-1)
    ends_BM = jnp.where(ends_BM < 0, length, ends_BM)
    return starts_BM, jnp.where(starts_BM < 0, -1, ends_BM - starts_BM)

"""Attention of each row's one new token over a cache, as a kernel for NVIDIA GPUs: it reads what the rows hold, once.

XLA reads the whole span for every row, keys and values in kernels of their own. Here a program has one row and one key
head, and goes over blocks of keys and values up to the row's last position, with a running maximum and sum of the
softmax. Where rows and heads are too few for the device, a row's keys are divided over several programs, whose
results are joined afterwards (Flash-Decoding, Dao et al., 2023).
"""

import logging
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.models.attention.plain import plain_cached_attention
from agentbank_jax.models.partitioning import set_mesh_axes

AUTO, XLA, TRITON = CACHED = ("auto", "xla", "triton")
"""How to attend over a cache: as generation finds best, the plain form, and the kernel of this module."""

BLOCK = 64
"""Keys that a program holds at once."""

# The least that the matrix units take, of queries of one key head.
_QUERIES = 16
_PROGRAMS = 256  # about two for each multiprocessor of a large GPU
_LARGEST_HEAD = 256
_TOLERANCES = {"bfloat16": 3e-2, "float16": 5e-3}
_LOWEST = float(np.finfo(np.float32).min)

logger = logging.getLogger(__name__)


def cached_attention(
    q_BTHh: Float[Array, "B T H h"],
    k_BSKh: Float[Array, "B S K h"],
    v_BSKh: Float[Array, "B S K h"],
    positions_BT: Int[Array, "B T"],
    kind: str = AUTO,
) -> Float[Array, "B T H h"]:
    """Attention of new tokens over a cache that already holds them: position p reads slots 0..p.

    What is returned for a position past the cache (padding) means nothing. Of one token a row, `kind` "triton" is the
    kernel; of more, and over a mesh, which it cannot be divided over, it is the plain form all the same.
    """
    if kind == TRITON and q_BTHh.shape[1] == 1 and not set_mesh_axes():
        return decode_attention(q_BTHh, k_BSKh, v_BSKh, positions_BT)
    return plain_cached_attention(q_BTHh, k_BSKh, v_BSKh, positions_BT)


def decode_attention(
    q_B1Hh: Float[Array, "B 1 H h"],
    k_BSKh: Float[Array, "B S K h"],
    v_BSKh: Float[Array, "B S K h"],
    positions_B1: Int[Array, "B 1"],
    *,
    splits: int = 0,
    interpret: bool = False,
) -> Float[Array, "B 1 H h"]:
    """`cached_attention` of one token a row, in bfloat16 or float16.

    Args:
      q_B1Hh, k_BSKh, v_BSKh, positions_B1: as there; the size of a head is a power of two from 16 to 256.
      splits: programs over which the keys of a row and head are divided; 0 takes enough to fill a GPU.
      interpret: runs the kernel without a GPU, slowly.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    batch, _, heads, size = q_B1Hh.shape
    length, heads_kv = k_BSKh.shape[1:3]
    blocks = pl.cdiv(length, BLOCK)
    splits = min(splits or pl.cdiv(_PROGRAMS, batch * heads_kv), blocks)
    group = heads // heads_kv
    rows = 1 if group == 1 else max(_QUERIES, pl.next_power_of_2(group))
    # Padding reads one key, so that it costs little.
    lengths_B = jnp.where(positions_B1[:, 0] < length, positions_B1[:, 0] + 1, 1)

    def of_row(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, *shape), lambda row, head, split: (row, head, 0, 0))

    def of_split(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, None, *shape), lambda row, head, split: (row, head, split, *[0] * len(shape)))

    out_BKNGh, logsum_BKNG = pl.pallas_call(
        partial(_kernel, scale=size**-0.5, group=group, blocks=pl.cdiv(blocks, splits)),
        grid=(batch, heads_kv, splits),
        in_specs=[
            pl.BlockSpec((1,), lambda row, head, split: (row,)),
            of_row(rows, size),
            of_row(length, size),
            of_row(length, size),
        ],
        out_specs=[of_split(rows, size), of_split(rows)],
        out_shape=[
            jax.ShapeDtypeStruct((batch, heads_kv, splits, group, size), q_B1Hh.dtype if splits == 1 else jnp.float32),
            jax.ShapeDtypeStruct((batch, heads_kv, splits, group), jnp.float32),
        ],
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
        interpret=interpret,
        name="decode_attention",
    )(
        lengths_B,
        q_B1Hh.reshape(batch, heads_kv, group, size),
        k_BSKh.swapaxes(1, 2),
        v_BSKh.swapaxes(1, 2),
    )
    if splits == 1:
        return out_BKNGh.reshape(q_B1Hh.shape)
    shares_BKNG = jax.nn.softmax(logsum_BKNG, axis=2)
    return jnp.sum(out_BKNGh * shares_BKNG[..., None], axis=2).reshape(q_B1Hh.shape).astype(q_B1Hh.dtype)


def _kernel(length_ref, q_ref, k_ref, v_ref, out_ref, logsum_ref, *, scale: float, group: int, blocks: int):
    """One row, key head and split: its `blocks` blocks of keys, as far as the row goes."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    length, first = length_ref[0], pl.program_id(2) * blocks
    rows, size = q_ref.shape
    present_G = jnp.arange(rows) < group
    q_Gh = triton.load(q_ref.at[:, :], mask=present_G[:, None], other=0.0)

    def product(x_Gn, y, axis):
        if rows == 1:  # the matrix units would compute it 16 times
            x_n = x_Gn[0].astype(jnp.float32)
            return jnp.sum(y.astype(jnp.float32) * jnp.expand_dims(x_n, 1 - axis), axis=axis)[None]
        return jnp.dot(x_Gn, y.T if axis else y, preferred_element_type=jnp.float32)

    def block(number, carry):
        highest_G, total_G, out_Gh = carry
        start = number * BLOCK
        held_s = start + jnp.arange(BLOCK) < length
        k_sh, v_sh = (
            triton.load(ref.at[pl.ds(start, BLOCK), :], mask=held_s[:, None], other=0.0) for ref in (k_ref, v_ref)
        )
        scores_Gs = product(q_Gh, k_sh, 1) * scale
        scores_Gs = jnp.where(held_s[None], scores_Gs, _LOWEST)
        new_G = jnp.maximum(highest_G, jnp.max(scores_Gs, axis=1))
        weights_Gs, kept_G = jnp.exp(scores_Gs - new_G[:, None]), jnp.exp(highest_G - new_G)
        added_Gh = product(weights_Gs.astype(v_sh.dtype), v_sh, 0)
        total_G = total_G * kept_G + jnp.sum(weights_Gs, axis=1)
        return new_G, total_G, out_Gh * kept_G[:, None] + added_Gh

    start = jnp.full(rows, _LOWEST), jnp.zeros(rows), jnp.zeros((rows, size))
    last = jnp.minimum(first + blocks, pl.cdiv(length, BLOCK))
    highest_G, total_G, out_Gh = jax.lax.fori_loop(first, last, block, start)
    # A split behind the row's end has no share.
    total_G = jnp.where(total_G > 0, total_G, 1.0)
    triton.store(out_ref.at[:, :], (out_Gh / total_G[:, None]).astype(out_ref.dtype), mask=present_G[:, None])
    triton.store(logsum_ref.at[:], highest_G + jnp.log(total_G), mask=present_G)


def choose_cached(kind: str, platform: str, *, num_heads: int, num_kv_heads: int, head_dim: int, dtype: str) -> str:
    """How generation attends over its cache on the devices here: "triton" where the kernel passes, or "xla".

    Args:
      kind: one of `CACHED`; "auto" takes the kernel on GPUs, where it was found equal to the plain form.
      platform: of the devices, as `jax.Device.platform` names it.
      num_heads, num_kv_heads, head_dim: of the model.
      dtype: of its activations.

    Raises:
      AgentBankError: "triton" was asked for by name, and failed.
    """
    if kind == XLA or (kind == AUTO and platform != "gpu"):
        return XLA
    reason = probe(num_heads, num_kv_heads, head_dim, dtype)
    if reason and kind == TRITON:
        raise AgentBankError(
            f"LlamaConfig.cached_attention={TRITON!r} cannot be used on this {platform}: {reason}. "
            f"Set LlamaConfig.cached_attention = {AUTO!r}."
        )
    if reason:
        logger.warning("the kernel of cached attention is passed over: %s", reason)
    return XLA if reason else TRITON


@lru_cache(maxsize=32)
def probe(num_heads: int, num_kv_heads: int, head_dim: int, dtype: str) -> str:
    """Runs the kernel on rows of several lengths, whole and divided; returns what is wrong with it, "" if nothing."""
    if dtype not in _TOLERANCES:
        return f"it computes in {' or '.join(_TOLERANCES)}, not in {dtype}"
    if not 16 <= head_dim <= _LARGEST_HEAD or head_dim & (head_dim - 1):
        return f"heads of {head_dim}; expected a power of two from 16 to {_LARGEST_HEAD}"
    rng = np.random.default_rng(0)
    lengths = (1, BLOCK, BLOCK + 7, 3 * BLOCK - 5)

    def draw(positions: int, heads: int) -> Array:
        return jnp.asarray(rng.normal(size=(len(lengths), positions, heads, head_dim)), dtype)

    inputs = draw(1, num_heads), draw(3 * BLOCK, num_kv_heads), draw(3 * BLOCK, num_kv_heads)
    positions = jnp.asarray(lengths, jnp.int32)[:, None] - 1
    with jax.default_matmul_precision("highest"):
        expected = jax.jit(plain_cached_attention)(*(x.astype(jnp.float32) for x in inputs), positions)
    for splits in (1, 2):
        try:
            out = jax.jit(partial(decode_attention, splits=splits))(*inputs, positions)
            difference = float(jnp.max(jnp.abs(out.astype(jnp.float32) - expected)) / jnp.max(jnp.abs(expected)))
        except Exception as error:  # whatever a library raises where it does not run
            return f"it does not run ({type(error).__name__}: {first_line(error)})"
        if not difference <= _TOLERANCES[dtype]:
            return (
                f"it differs from the plain form by {difference:.2g} of its largest value; "
                f"expected at most {_TOLERANCES[dtype]:g} in {dtype}"
            )
    return ""

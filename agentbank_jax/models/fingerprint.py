"""A name for the values of a tree of arrays."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt


def fingerprint(params: Any) -> str:
    """A name for the values of parameters, the same however they lie over devices.

    Each array's bits are taken as integers, multiplied by odd numbers that depend on the place, and added modulo
    2 ** 32, twice; integer sums do not depend on their order. The name is the types, and SHA-256 of all sums, names,
    shapes and types. It finds other weights and damage; it is no protection against someone who means harm.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    types = "+".join(sorted({str(leaf.dtype) for _, leaf in leaves}))
    facts = [
        f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype} {sums}"
        for (path, leaf), sums in zip(leaves, jax.device_get(_all_sums([leaf for _, leaf in leaves])), strict=True)
    ]
    return f"{types}:{hashlib.sha256(chr(10).join(facts).encode()).hexdigest()}"


@jax.jit
def _all_sums(arrays: list[Array]) -> list[UInt[Array, "2"]]:
    return [_sums(array) for array in arrays]


def _sums(array: Array) -> UInt[Array, "2"]:
    bits = jax.lax.bitcast_convert_type(array, f"uint{8 * array.dtype.itemsize}").astype(jnp.uint32)
    zero, axes = jnp.uint32(0), tuple(range(array.ndim))
    # One reduction of both: of two, XLA on CPU would write their operands out.
    first, second = jax.lax.reduce(
        tuple(bits * (2 * _place(array.shape, seed) + 1) for seed in (1, 2)),
        (zero, zero),
        lambda sums, more: (sums[0] + more[0], sums[1] + more[1]),
        axes,
    )
    return jnp.stack([first, second])


def _place(shape: tuple[int, ...], seed: int) -> UInt[Array, "..."]:
    """A number for each place, from a hash of its index along each axis (the mixing steps of MurmurHash3)."""
    place = jnp.full(shape, seed, jnp.uint32)
    for axis, size in enumerate(shape):
        mixed = (jax.lax.iota(jnp.uint32, size) + jnp.uint32(1 + axis)) * jnp.uint32(0x9E3779B1 + (seed << 8))
        mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
        mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
        place ^= jax.lax.broadcast_in_dim(mixed ^ (mixed >> 16), shape, (axis,))
    return place

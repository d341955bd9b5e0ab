"""A name for the values of a tree of arrays."""

import hashlib
from functools import partial
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
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis in range(array.ndim):
        place = place * jnp.uint32(0x9E3779B1) + jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    add = partial(jnp.sum, dtype=jnp.uint32)
    mixed = (place ^ (place >> 15)) * jnp.uint32(0x85EBCA6B)
    return jnp.stack([add(bits * (2 * mixed + 1)), add(bits * (2 * (mixed ^ (mixed >> 13)) + 1))])

"""Cross-entropy of a projection to the vocabulary that holds few logits at a time.

The gradients of a chunk of tokens are made together with its loss, so that its logits are made once and
held only then: nothing is projected again for the gradient, as it would be under rematerialisation.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from agentbank_jax.models.partitioning import constrain, parts, set_mesh_axes
from agentbank_jax.models.products import contract, summed_outer

LOGITS_AT_ONCE = 1 << 25
"""The most logits that a device holds: 128 MiB in float32, and as much for their gradient."""


def summed_cross_entropy(
    hidden_BTD: Float[Array, "B T D"],
    kernel: Float[Array, "D V"] | Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    *,
    tied: bool,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> Float[Array, ""]:
    """Sum over the tokens of weight x negative log-likelihood of the target (nats), float32.

    It has gradients with respect to `hidden_BTD` and `kernel`; those with respect to the weights count as 0.

    Args:
      hidden_BTD: what is projected, in the type of the computation.
      kernel: of the projection, of any float type; its gradient is summed in float32.
      targets_BT: int32.
      weights_BT: float32.
      tied: whether `kernel` is an embedding [V, D].
      logits_at_once: the most logits that a device holds.
    """
    chunks = _chunks(targets_BT, kernel.shape[0 if tied else 1], logits_at_once)
    return _summed(hidden_BTD, kernel, targets_BT, weights_BT.astype(jnp.float32), tied, chunks)


def token_losses(
    hidden_BTD: Float[Array, "B T D"],
    kernel: Float[Array, "D V"] | Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    *,
    tied: bool,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> tuple[Float[Array, "B T"], Bool[Array, "B T"]]:
    """Negative log-likelihood of each target (nats, float32), and whether greedy decoding would choose it.

    Args as of `summed_cross_entropy`; it is not made for gradients.
    """
    chunks = _chunks(targets_BT, kernel.shape[0 if tied else 1], logits_at_once)

    def measure(chunk):
        hidden_BtD, targets_Bt = chunk
        logits_BtV = _logits(hidden_BtD, kernel, tied)
        return _token_losses(logits_BtV, targets_Bt)[0], jnp.argmax(logits_BtV, axis=-1) == targets_Bt

    measured = jax.lax.map(measure, _split((hidden_BTD, targets_BT), chunks))
    losses, hits = (_joined(part[..., None], (*targets_BT.shape, 1))[..., 0] for part in measured)
    return losses, hits


def _chunks(targets_BT: Int[Array, "B T"], vocab_size: int, logits_at_once: int) -> int:
    batch, length = targets_BT.shape
    devices = math.prod(set_mesh_axes().values())
    places = (_grid(targets_BT) or (1, 1))[1]
    return min(length // places, max(1, -(-batch * length * vocab_size // (logits_at_once * devices))))


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _summed(hidden_BTD, kernel, targets_BT, weights_BT, tied: bool, chunks: int):
    def add(total, chunk):
        hidden_BtD, targets_Bt, weights_Bt = chunk
        return total + _losses(_logits(hidden_BtD, kernel, tied), targets_Bt, weights_Bt)[0], None

    return jax.lax.scan(add, jnp.float32(0), _split((hidden_BTD, targets_BT, weights_BT), chunks))[0]


def _summed_forward(hidden_BTD, kernel, targets_BT, weights_BT, tied: bool, chunks: int):
    grid = _grid(targets_BT)
    axes = ("vocab", None) if tied else (None, "vocab")
    # Gathered once, and not again for each chunk.
    typed = constrain(_typed(kernel, hidden_BTD), *axes)

    def chunk_gradients(hidden_BtD, targets_Bt, weights_Bt):
        logits_BtV = _logits(hidden_BtD, typed, tied)
        total, logsum_Bt1 = _losses(logits_BtV, targets_Bt, weights_Bt)
        wanted_BtV = _is_target(logits_BtV, targets_Bt).astype(jnp.float32)
        grad_BtV = (jnp.exp(logits_BtV - logsum_Bt1) - wanted_BtV) * weights_Bt[..., None]
        grad_BtV = grad_BtV.astype(hidden_BtD.dtype)
        grad_hidden_BtD = contract(grad_BtV, typed, 0 if tied else 1)
        operands = (grad_BtV, hidden_BtD) if tied else (hidden_BtD, grad_BtV)
        grad_kernel = summed_outer(*operands, dtype=jnp.float32)
        return total, grad_hidden_BtD, grad_kernel

    # Devices add up the gradients that each has summed, once, and not for each chunk.
    of_chunk = _each(chunk_gradients, grid)

    def add(carry, chunk):
        total, grad_hidden, grad_kernel = of_chunk(*chunk)
        grad_kernel = constrain(carry[1] + grad_kernel, *_DIVIDED[: len(grid)], *axes)
        return (carry[0] + total, grad_kernel), grad_hidden

    arrays = _by_part((hidden_BTD, targets_BT, weights_BT), grid)
    if chunks == 1:
        total, grad_hidden, grad_kernel = of_chunk(*arrays)
    else:
        zeros = jnp.zeros(grid, jnp.float32), jnp.zeros((*grid, *kernel.shape), jnp.float32)
        split = _each(lambda *arrays: _split(arrays, chunks), grid, out_axes=1)
        (total, grad_kernel), grads = jax.lax.scan(add, zeros, split(*arrays))
        shape = arrays[0].shape[len(grid) :]
        grad_hidden = _each(lambda chunks_nBtD: _joined(chunks_nBtD, shape), grid, in_axes=1)(grads)
    if grid:
        total, grad_kernel = jnp.sum(total), jnp.sum(grad_kernel, axis=(0, 1))
        grad_hidden = constrain(grad_hidden.swapaxes(1, 2).reshape(hidden_BTD.shape), *_DIVIDED)
        grad_kernel = constrain(grad_kernel, *(axis or "embed" for axis in axes))
    return total, (grad_hidden, grad_kernel.astype(kernel.dtype))


def _summed_backward(tied: bool, chunks: int, grads, cotangent):
    del tied, chunks
    grad_hidden_BTD, grad_kernel = (grad * cotangent.astype(grad.dtype) for grad in grads)
    return grad_hidden_BTD, grad_kernel, None, None


_summed.defvjp(_summed_forward, _summed_backward)


_DIVIDED = ("batch", "length")
"""The logical axes along which tokens are divided."""


def _grid(targets_BT) -> tuple[int, ...]:
    """Into how many parts rows and places are divided on the mesh that is set; () where neither is."""
    grid = tuple(parts(axis) for axis in _DIVIDED)
    divides = all(size % count == 0 for size, count in zip(targets_BT.shape, grid, strict=True))
    return grid if divides and math.prod(grid) > 1 else ()


def _by_part(arrays, grid: tuple[int, ...]):
    """[B, T, …] as [parts of rows, parts of places, b, t, …]: what is summed of each part alone needs no exchange."""
    if not grid:
        return arrays
    rows, places = grid

    def divide(x):
        batch, length, *rest = x.shape
        return constrain(x.reshape(rows, batch // rows, places, length // places, *rest).swapaxes(1, 2), *_DIVIDED)

    return jax.tree.map(divide, arrays)


def _each(function, grid: tuple[int, ...], **axes):
    """The function of each part, or of all tokens where they are not divided."""
    return jax.vmap(jax.vmap(function, **axes), **axes) if grid else function


def _typed(kernel, hidden):
    return kernel.astype(hidden.dtype)


def _logits(hidden_BtD, kernel, tied: bool) -> Float[Array, "B t V"]:
    dimensions = (((2,), (1 if tied else 0,)), ((), ()))
    return jax.lax.dot_general(hidden_BtD, _typed(kernel, hidden_BtD), dimensions, preferred_element_type=jnp.float32)


def _is_target(logits_BtV, targets_Bt):
    # A comparison, unlike a gather, stays within each part of a vocabulary that is divided over devices.
    return jax.lax.broadcasted_iota(jnp.int32, logits_BtV.shape, 2) == targets_Bt[..., None]


def _losses(logits_BtV, targets_Bt, weights_Bt) -> tuple[Float[Array, ""], Float[Array, "B t 1"]]:
    losses_Bt, logsum_Bt1 = _token_losses(logits_BtV, targets_Bt)
    return jnp.sum(weights_Bt * losses_Bt), logsum_Bt1


def _token_losses(logits_BtV, targets_Bt) -> tuple[Float[Array, "B t"], Float[Array, "B t 1"]]:
    logsum_Bt1 = jax.nn.logsumexp(logits_BtV, axis=-1, keepdims=True)
    picked_Bt = jnp.sum(jnp.where(_is_target(logits_BtV, targets_Bt), logits_BtV, 0), axis=-1)
    return logsum_Bt1[..., 0] - picked_Bt, logsum_Bt1


def _split(arrays, chunks: int):
    """[B, T, …] as [chunks, B, t, …], padded with zeros.

    Place p goes to chunk p % chunks: a device that has some of a row's places has some of each chunk's.
    """

    def split(x):
        padded = jnp.pad(x, [(0, 0), (0, -x.shape[1] % chunks), *[(0, 0)] * (x.ndim - 2)])
        return jnp.moveaxis(padded.reshape(x.shape[0], -1, chunks, *x.shape[2:]), 2, 0)

    return jax.tree.map(split, arrays)


def _joined(chunks_nBtD, shape: tuple[int, ...]):
    batch, length, width = shape
    return jnp.moveaxis(chunks_nBtD, 0, 2).reshape(batch, -1, width)[:, :length]

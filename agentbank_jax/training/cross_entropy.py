"""Cross-entropy of a projection to the vocabulary that holds few logits at a time.

The gradients of a chunk of tokens are made together with its loss, so that its logits are made once and
held only then: nothing is projected again for the gradient, as it would be under rematerialisation.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from agentbank_jax.models.partitioning import set_mesh_axes
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
    chunks = _chunks(targets_BT.shape, kernel.shape[0 if tied else 1], logits_at_once)
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
    chunks = _chunks(targets_BT.shape, kernel.shape[0 if tied else 1], logits_at_once)

    def measure(chunk):
        hidden_BtD, targets_Bt = chunk
        logits_BtV = _logits(hidden_BtD, kernel, tied)
        return _token_losses(logits_BtV, targets_Bt)[0], jnp.argmax(logits_BtV, axis=-1) == targets_Bt

    measured = jax.lax.map(measure, _split((hidden_BTD, targets_BT), chunks))
    losses, hits = (_joined(part[..., None], (*targets_BT.shape, 1))[..., 0] for part in measured)
    return losses, hits


def _chunks(shape: tuple[int, ...], vocab_size: int, logits_at_once: int) -> int:
    batch, length = shape
    devices = math.prod(set_mesh_axes().values())
    return min(length, max(1, -(-batch * length * vocab_size // (logits_at_once * devices))))


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _summed(hidden_BTD, kernel, targets_BT, weights_BT, tied: bool, chunks: int):
    def add(total, chunk):
        hidden_BtD, targets_Bt, weights_Bt = chunk
        return total + _losses(_logits(hidden_BtD, kernel, tied), targets_Bt, weights_Bt)[0], None

    return jax.lax.scan(add, jnp.float32(0), _split((hidden_BTD, targets_BT, weights_BT), chunks))[0]


def _summed_forward(hidden_BTD, kernel, targets_BT, weights_BT, tied: bool, chunks: int):
    def chunk_gradients(hidden_BtD, targets_Bt, weights_Bt):
        logits_BtV = _logits(hidden_BtD, kernel, tied)
        total, logsum_Bt1 = _losses(logits_BtV, targets_Bt, weights_Bt)
        wanted_BtV = _is_target(logits_BtV, targets_Bt).astype(jnp.float32)
        grad_BtV = (jnp.exp(logits_BtV - logsum_Bt1) - wanted_BtV) * weights_Bt[..., None]
        grad_BtV = grad_BtV.astype(hidden_BtD.dtype)
        grad_hidden_BtD = contract(grad_BtV, _typed(kernel, hidden_BtD), 0 if tied else 1)
        operands = (grad_BtV, hidden_BtD) if tied else (hidden_BtD, grad_BtV)
        grad_kernel = summed_outer(*operands, dtype=jnp.float32)
        return total, grad_hidden_BtD, grad_kernel

    if chunks == 1:
        total, grad_hidden_BTD, grad_kernel = chunk_gradients(hidden_BTD, targets_BT, weights_BT)
    else:

        def add(carry, chunk):
            total, grad_hidden_BtD, grad_kernel = chunk_gradients(*chunk)
            return (carry[0] + total, carry[1] + grad_kernel), grad_hidden_BtD

        zeros = jnp.float32(0), jnp.zeros(kernel.shape, jnp.float32)
        (total, grad_kernel), grads = jax.lax.scan(add, zeros, _split((hidden_BTD, targets_BT, weights_BT), chunks))
        grad_hidden_BTD = _joined(grads, hidden_BTD.shape)
    return total, (grad_hidden_BTD, grad_kernel.astype(kernel.dtype))


def _summed_backward(tied: bool, chunks: int, grads, cotangent):
    del tied, chunks
    grad_hidden_BTD, grad_kernel = (grad * cotangent.astype(grad.dtype) for grad in grads)
    return grad_hidden_BTD, grad_kernel, None, None


_summed.defvjp(_summed_forward, _summed_backward)


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

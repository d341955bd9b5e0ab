"""Cross-entropy over the trained tokens."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.models.partitioning import set_mesh_axes

Batch = dict[str, Array]
LOSS_KINDS = ("trained", "full")

LOGITS_AT_ONCE = 1 << 28
"""The most logits that a loss holds on each device, 1 GiB in float32."""

BUCKETS = 8
"""A capacity is a multiple of this share of a batch: that many programs at most, one or two in practice."""


def summed_loss(
    config: LlamaConfig, params: Any, batch: Batch, capacity: int | None = None, logits_at_once: int = LOGITS_AT_ONCE
) -> Float[Array, ""]:
    """Sum over the tokens of weight x negative log-likelihood (nats), float32; not yet divided by anything.

    Args:
      config: the model.
      params: its parameters.
      batch: `tokens`, `targets`, `positions`, `segment_ids` int32 [B, T] and `loss_weights` float32 [B, T].
      capacity: None projects every token to the vocabulary. A number gathers the tokens of non-zero weight
        first and projects only them: the same value, without the work and the memory for the others.
        There must be at most so many (see `trained_capacity`). It gathers across the whole batch, so it is
        meant for one device.
      logits_at_once: the most logits that a device holds: tokens are projected in chunks of a row's length, and those
        of a chunk are made again for its gradient.
    """
    hidden_BTD, _ = forward.hidden(config, params, batch["tokens"], batch["positions"], batch["segment_ids"])
    weights_BT, targets_BT = batch["loss_weights"].astype(jnp.float32), batch["targets"]
    if capacity is not None:
        # One row of the trained tokens alone.
        (trained_C,) = jnp.nonzero(weights_BT.reshape(-1), size=capacity, fill_value=weights_BT.size)

        def trained(x_BT, *feature):
            return x_BT.reshape(1, -1, *feature).at[:, trained_C].get(mode="fill", fill_value=0)

        hidden_BTD = trained(hidden_BTD, hidden_BTD.shape[-1])
        weights_BT, targets_BT = trained(weights_BT), trained(targets_BT)
    return _chunked_loss(config, params, hidden_BTD, weights_BT, targets_BT, logits_at_once)


def _chunked_loss(config: LlamaConfig, params, hidden_BTD, weights_BT, targets_BT, logits_at_once: int):
    batch, length = weights_BT.shape
    chunks = min(length, max(1, -(-batch * length * config.vocab_size // (logits_at_once * _devices()))))

    def loss(hidden_BTD, weights_BT, targets_BT):
        return jnp.sum(weights_BT * token_losses(forward.logits(config, params, hidden_BTD), targets_BT))

    if chunks == 1:
        return loss(hidden_BTD, weights_BT, targets_BT)

    def split(x):
        # Place t goes to chunk t % chunks: a device that has some of a row's places has some of each chunk's.
        padded = jnp.pad(x, [(0, 0), (0, -length % chunks), *[(0, 0)] * (x.ndim - 2)])
        return jnp.moveaxis(padded.reshape(batch, -1, chunks, *x.shape[2:]), 2, 0)

    remade = jax.checkpoint(loss, prevent_cse=False)

    def add(total, chunk):
        return total + remade(*chunk), None

    total, _ = jax.lax.scan(add, jnp.float32(0), jax.tree.map(split, (hidden_BTD, weights_BT, targets_BT)))
    return total


def _devices() -> int:
    return math.prod(set_mesh_axes().values())


def trained_capacity(loss_weights: np.ndarray) -> int:
    """A capacity for `summed_loss` that holds this batch's trained tokens: a pure function of the batch."""
    bucket = -(-loss_weights.size // BUCKETS)
    return min(loss_weights.size, max(1, -(-int(np.count_nonzero(loss_weights)) // bucket)) * bucket)


def token_losses(logits: Float[Array, "... V"], targets: Array) -> Float[Array, "..."]:
    """Negative log-likelihood of each target, nats."""
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked

"""Cross-entropy over the trained tokens."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig

Batch = dict[str, Array]
LOSS_KINDS = ("trained", "full")

BUCKETS = 8
"""A capacity is a multiple of this share of a batch: that many programs at most, one or two in practice."""


def summed_loss(config: LlamaConfig, params: Any, batch: Batch, capacity: int | None = None) -> Float[Array, ""]:
    """Sum over the tokens of weight x negative log-likelihood (nats), float32; not yet divided by anything.

    Args:
      config: the model.
      params: its parameters.
      batch: `tokens`, `targets`, `positions`, `segment_ids` int32 [B, T] and `loss_weights` float32 [B, T].
      capacity: None projects every token to the vocabulary. A number gathers the tokens of non-zero weight
        first and projects only them: the same value, without the work and the memory for the others.
        There must be at most so many (see `trained_capacity`). It gathers across the whole batch, so it is
        meant for one device.
    """
    hidden_BTD, _ = forward.hidden(config, params, batch["tokens"], batch["positions"], batch["segment_ids"])
    weights, targets = batch["loss_weights"].astype(jnp.float32), batch["targets"]
    if capacity is None:
        return jnp.sum(weights * token_losses(forward.logits(config, params, hidden_BTD), targets))
    weights_N, targets_N = weights.reshape(-1), targets.reshape(-1)
    (trained_C,) = jnp.nonzero(weights_N, size=capacity, fill_value=weights_N.size)
    hidden_CD = hidden_BTD.reshape(weights_N.size, -1).at[trained_C].get(mode="fill", fill_value=0)
    targets_C = targets_N.at[trained_C].get(mode="fill", fill_value=0)
    weights_C = weights_N.at[trained_C].get(mode="fill", fill_value=0)
    return jnp.sum(weights_C * token_losses(forward.logits(config, params, hidden_CD), targets_C))


def trained_capacity(loss_weights: np.ndarray) -> int:
    """A capacity for `summed_loss` that holds this batch's trained tokens: a pure function of the batch."""
    bucket = -(-loss_weights.size // BUCKETS)
    return min(loss_weights.size, max(1, -(-int(np.count_nonzero(loss_weights)) // bucket)) * bucket)


def token_losses(logits: Float[Array, "... V"], targets: Array) -> Float[Array, "..."]:
    """Negative log-likelihood of each target, nats."""
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked

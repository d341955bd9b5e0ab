"""Cross-entropy over the trained tokens."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training.cross_entropy import LOGITS_AT_ONCE, summed_cross_entropy

Batch = dict[str, Array]

BUCKETS = 8
"""A capacity is a multiple of this share of a batch: that many programs at most, one or two in practice."""


def summed_loss(
    config: LlamaConfig,
    params: Any,
    batch: Batch,
    capacity: int | None = None,
    logits_at_once: int = LOGITS_AT_ONCE,
    dropout_key: Array | None = None,
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
      logits_at_once: the most logits that a device holds.
      dropout_key: see `models.forward.hidden`.
    """
    hidden_BTD, _ = forward.hidden(
        config, params, batch["tokens"], batch["positions"], batch["segment_ids"], dropout_key=dropout_key
    )
    weights_BT, targets_BT = batch["loss_weights"].astype(jnp.float32), batch["targets"]
    if capacity is not None:
        # One row of the trained tokens alone.
        (trained_C,) = jnp.nonzero(weights_BT.reshape(-1), size=capacity, fill_value=weights_BT.size)

        def trained(x_BT, *feature):
            return x_BT.reshape(1, -1, *feature).at[:, trained_C].get(mode="fill", fill_value=0)

        hidden_BTD = trained(hidden_BTD, hidden_BTD.shape[-1])
        weights_BT, targets_BT = trained(weights_BT), trained(targets_BT)
    kernel, tied = forward.output_kernel(config, params)
    return summed_cross_entropy(hidden_BTD, kernel, targets_BT, weights_BT, tied=tied, logits_at_once=logits_at_once)


def gathers(kind: str, devices: int) -> bool:
    """Whether a run on so many devices projects the trained tokens alone, for `TrainConfig.loss` of a kind."""
    return kind == "trained" or (kind == "auto" and devices == 1)


def trained_capacity(loss_weights: np.ndarray) -> int:
    """A capacity for `summed_loss` that holds this batch's trained tokens: a pure function of the batch."""
    bucket = -(-loss_weights.size // BUCKETS)
    return min(loss_weights.size, max(1, -(-int(np.count_nonzero(loss_weights)) // bucket)) * bucket)

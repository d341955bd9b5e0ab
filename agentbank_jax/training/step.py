"""One optimizer step: a pure function over pytrees."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.training.loss import Batch, summed_loss
from agentbank_jax.training.state import TrainState

Metrics = dict[str, Array]
StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_train_step(
    config: LlamaConfig,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    capacity: int | None = None,
    accumulate: int = 1,
) -> StepFunction:
    """Builds the step, to be jitted with its state donated.

    Args:
      config: the model.
      optimizer: from `make_optimizer`.
      schedule: the learning rate, only to report it.
      capacity: the largest number of trained tokens in a micro-batch, or None (see `summed_loss`).
      accumulate: micro-batches per step. The batch [B, T] is taken as `accumulate` parts of B/accumulate
        rows (every part has rows of every data shard); gradients are summed, and divided once by the
        number of trained tokens of the whole batch, so the step equals that of one large batch however
        unevenly the trained tokens lie.

    Returns:
      step(state, batch) -> (state, metrics). Metrics, each a scalar: `loss` (nats per trained token),
      `trained_tokens`, `tokens` (without padding), `gradient_norm` (before clipping), `learning_rate`.
    """

    def loss_and_grads(params, batch: Batch):
        return jax.value_and_grad(lambda params: summed_loss(config, params, batch, capacity))(params)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        trained = jnp.sum(batch["loss_weights"])
        if accumulate == 1:
            total, grads = loss_and_grads(state.params, batch)
        else:
            # Row r goes to part r % accumulate: rows of one device stay on it.
            parts = jax.tree.map(
                lambda x: x.reshape(x.shape[0] // accumulate, accumulate, *x.shape[1:]).swapaxes(0, 1), batch
            )

            def add(carry, part):
                return jax.tree.map(jnp.add, carry, loss_and_grads(state.params, part)), None

            zeros = (jnp.float32(0), jax.tree.map(jnp.zeros_like, state.params))
            (total, grads), _ = jax.lax.scan(add, zeros, parts)
        scale = 1.0 / jnp.maximum(trained, 1.0)
        grads = jax.tree.map(lambda grad: (grad * scale).astype(grad.dtype), grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        metrics = {
            "loss": total * scale,
            "trained_tokens": trained,
            "tokens": jnp.sum(batch["segment_ids"] > 0),
            "gradient_norm": optax.global_norm(grads),
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
        }
        return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state), metrics

    return train_step

"""One optimizer step: a pure function over pytrees."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from agentbank_jax.models import forward, lora
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training.loss import Batch, summed_loss
from agentbank_jax.training.state import TrainState

Metrics = dict[str, Array]
StepFunction = Callable[..., tuple[TrainState, Metrics]]


def make_train_step(
    config: LlamaConfig,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    capacity: int | None = None,
    accumulate: int = 1,
    seed: int = 0,
) -> StepFunction:
    """Builds the step, to be jitted with its state donated, and nothing else.

    Args:
      config: the model.
      optimizer: from `make_optimizer`.
      schedule: the learning rate, only to report it.
      capacity: the largest number of trained tokens in a micro-batch, or None (see `summed_loss`).
      accumulate: micro-batches per step. The batch [B, T] is taken as `accumulate` parts of B/accumulate
        rows (every part has rows of every data shard); gradients are summed, and divided once by the
        number of trained tokens of the whole batch, so the step equals that of one large batch however
        unevenly the trained tokens lie.
      seed: of the dropout of adapters; what a step drops follows from it, the step and the micro-batch alone.

    Returns:
      step(state, batch, frozen=None) -> (state, metrics). `frozen` are the parameters that the adapters in
      `state.params` belong to, where the model has adapters. Metrics, each a scalar: `loss` (nats per trained token),
      `trained_tokens`, `tokens` (without padding), `gradient_norm` (before clipping), `learning_rate`, `bad`. A bad
      step, whose loss or gradient is not finite, changes nothing but the number of steps.
    """

    def train_step(state: TrainState, batch: Batch, frozen: forward.Params | None = None) -> tuple[TrainState, Metrics]:
        def loss_and_grads(batch: Batch, key: Array | None):
            def loss(params):
                whole = params if frozen is None else lora.join(frozen, params)
                return summed_loss(config, whole, batch, capacity, dropout_key=key)

            return jax.value_and_grad(loss)(state.params)

        keys = None
        if config.lora and config.lora.dropout:
            # A number beside those from which the parameters are made.
            key = jax.random.fold_in(jax.random.key(seed), jnp.uint32(0xD509))
            keys = jax.random.split(jax.random.fold_in(key, state.step), accumulate)
        trained = jnp.sum(batch["loss_weights"])
        if accumulate == 1:
            total, grads = loss_and_grads(batch, None if keys is None else keys[0])
        else:
            # Row r goes to part r % accumulate: rows of one device stay on it.
            parts = jax.tree.map(
                lambda x: x.reshape(x.shape[0] // accumulate, accumulate, *x.shape[1:]).swapaxes(0, 1), batch
            )

            def add(carry, part):
                return jax.tree.map(jnp.add, carry, loss_and_grads(*part)), None

            zeros = (jnp.float32(0), jax.tree.map(jnp.zeros_like, state.params))
            (total, grads), _ = jax.lax.scan(add, zeros, (parts, keys))
        scale = 1.0 / jnp.maximum(trained, 1.0)
        grads = jax.tree.map(lambda grad: (grad * scale).astype(grad.dtype), grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        norm = optax.global_norm(grads)
        good = jnp.isfinite(total) & jnp.isfinite(norm)
        metrics = {
            "loss": total * scale,
            "trained_tokens": trained,
            "tokens": jnp.sum(batch["segment_ids"] > 0),
            "gradient_norm": norm,
            "learning_rate": jnp.asarray(schedule(_updates_done(state)), jnp.float32),
            "bad": ~good,
        }
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(good, new, old),
            (optax.apply_updates(state.params, updates), opt_state),
            (state.params, state.opt_state),
        )
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step


def _updates_done(state: TrainState) -> Array:
    """Steps that were not bad, as the optimizer counts them; all steps, where it does not count."""
    counts = optax.tree.get_all_with_path(state.opt_state, "count")
    # One that works layer by layer counts them layer by layer.
    return jnp.max(counts[0][1]) if counts else state.step


def jit_train_step(step: StepFunction, state: Any, batch: NamedSharding, frozen: Any = None) -> Any:
    """Compiles a step whose arrays are laid over a mesh; the state is donated, and metrics are whole on every device.

    Args:
      step: from `make_train_step`.
      state: shardings of the `TrainState`, in and out.
      batch: the sharding of a batch's arrays.
      frozen: shardings of the weights that adapters belong to, None without adapters.
    """
    whole = NamedSharding(batch.mesh, PartitionSpec())
    return jax.jit(step, in_shardings=(state, batch, frozen), out_shardings=(state, whole), donate_argnums=0)

"""What a training step changes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from agentbank_jax.models import forward, lora
from agentbank_jax.models.llama_config import LlamaConfig


class TrainState(NamedTuple):
    """A plain pytree.

    Fields:
      step: int32 [], optimizer steps done.
      params: the parameters that are trained: the model's, or its adapters where it has any (see `models.lora`).
      opt_state: state of the optimizer.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any


def make_init(config: LlamaConfig, optimizer: optax.GradientTransformation):
    """The function seed -> fresh `TrainState`, to be jitted with its output shardings: what it leaves is not made."""

    def init(seed: Int[Array, ""]) -> TrainState:
        params = forward.init(config, jax.random.key(seed))
        if config.lora:
            params, _ = lora.split(params)
        return TrainState(jnp.int32(0), params, optimizer.init(params))

    return init


def abstract_state(config: LlamaConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """The shapes and dtypes of a state, without memory."""
    return jax.eval_shape(make_init(config, optimizer), jnp.int32(0))

"""What a training step changes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig


class TrainState(NamedTuple):
    """A plain pytree.

    Fields:
      step: int32 [], optimizer steps done.
      params: parameters of the model.
      opt_state: state of the optimizer.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any


def make_init(config: LlamaConfig, optimizer: optax.GradientTransformation):
    """The function seed -> fresh `TrainState`, to be jitted with its output shardings."""

    def init(seed: Int[Array, ""]) -> TrainState:
        params = forward.init(config, jax.random.key(seed))
        return TrainState(jnp.int32(0), params, optimizer.init(params))

    return init


def abstract_state(config: LlamaConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """The shapes and dtypes of a state, without memory."""
    return jax.eval_shape(make_init(config, optimizer), jnp.int32(0))

"""What a training step changes."""

from collections.abc import Callable
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


def fresh_state(
    config: LlamaConfig,
    optimizer: optax.GradientTransformation,
    shardings: TrainState,
    seed: int,
    initial_params: Callable[[], forward.Params] | None = None,
) -> TrainState:
    """The state before the first step, on the devices.

    Args:
      config: the model.
      optimizer: makes its own state.
      shardings: how the state lies, a tree of its structure.
      seed: of fresh parameters.
      initial_params: gives the parameters to start from, of any float type, instead of fresh ones.
    """
    if initial_params is None:
        return jax.jit(make_init(config, optimizer), out_shardings=shardings)(jnp.int32(seed))
    params = placed(initial_params(), config.param_dtype, shardings.params)
    opt_state = jax.jit(optimizer.init, out_shardings=shardings.opt_state)(params)
    return TrainState(jax.device_put(jnp.int32(0), shardings.step), params, opt_state)


def placed(params: forward.Params, dtype: str, shardings: Any) -> forward.Params:
    """Parameters of a type on the devices, by a tree of shardings of their structure."""
    return jax.tree.map(lambda leaf, sharding: jax.device_put(jnp.asarray(leaf, dtype), sharding), params, shardings)

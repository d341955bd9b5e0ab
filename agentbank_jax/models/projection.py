"""A projection of a layer, with the adapter that it may have; for the shape letters see `models.llama`."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import PROJECTIONS, LoraConfig, dropped
from agentbank_jax.models.partitioning import set_mesh_axes
from agentbank_jax.models.products import project
from agentbank_jax.models.quantization import project_quantized
from agentbank_jax.models.remat import checkpoint_name


class Linear(nnx.Module):
    """A projection called `name`, with or without bias, and with an adapter where `config.lora` gives it one.

    Where it has a `scale`, its kernel is int8 (see `models.quantization`).
    """

    def __init__(
        self, name: str, inputs: int, outputs: int, *, std: float, config: LlamaConfig, rngs: nnx.Rngs, bias=False
    ):
        key = rngs.params()
        kernel = std * jax.random.normal(key, (inputs, outputs), jnp.float32)
        self.kernel = nnx.Param(kernel.astype(config.param_dtype))
        self.scale: nnx.Param | None = None
        self.bias = nnx.Param(jnp.zeros((outputs,), config.param_dtype)) if bias else None
        lora = config.lora if config.lora and name in config.lora.names else None
        self.frozen = config.lora is not None
        # From a key of its own: the kernel is the same with and without.
        self.lora = Adapter(name, inputs, outputs, lora, jax.random.fold_in(key, 1)) if lora else None

    def __call__(self, x: Float[Array, "... inputs"], dropout_key: Array | None = None) -> Float[Array, "... outputs"]:
        kernel = self.kernel[...]
        if self.frozen and not set_mesh_axes():
            # The TPU's compiler may want another layout in a scan over layers, and would copy all layers for it.
            # Over a mesh, where such a constraint makes it gather parts that may stay apart, it did not.
            kernel = with_layout_constraint(kernel, Layout((0, 1)))
        if self.scale is None:
            projected = project(x, kernel.astype(x.dtype))
        else:
            projected = project_quantized(x, kernel, self.scale[...]).astype(x.dtype)
        if self.bias is not None:
            projected = projected + self.bias[...].astype(x.dtype)
        return projected if self.lora is None else projected + self.lora(x, dropout_key)


class Adapter(nnx.Module):
    """What LoRA adds to a projection: scale (x A) B, of which the product A B is never made.

    A is uniform within 1 / sqrt(inputs), as in `peft`, and B zero.
    """

    def __init__(self, name: str, inputs: int, outputs: int, config: LoraConfig, key: Array):
        self.config, self.number = config, PROJECTIONS.index(name)
        bound = inputs**-0.5
        a = jax.random.uniform(key, (inputs, config.rank), jnp.float32, -bound, bound)
        self.a = nnx.Param(a.astype(config.param_dtype))
        self.b = nnx.Param(jnp.zeros((config.rank, outputs), config.param_dtype))

    def __call__(self, x: Float[Array, "... inputs"], dropout_key: Array | None) -> Float[Array, "... outputs"]:
        if dropout_key is not None:
            x = dropped(x, self.config.dropout, jax.random.fold_in(dropout_key, self.number))
        low = checkpoint_name(project(x, self.a[...].astype(x.dtype)) * self.config.scale, "adapter")
        return project(low, self.b[...].astype(x.dtype))


def kernel_std(config: LlamaConfig, inputs: int, residual: bool = False) -> float:
    """Standard deviation of a fresh kernel.

    Where the configuration leaves it open: 0.4 / sqrt(inputs), and for what is added to the residual stream
    1 / sqrt(2 layers) of that (GPT-2, Radford et al., 2019). Of 0.16, 0.4 and 1.0, models of 2 layers learned to
    copy spans soonest with 0.4: after 400 steps (64 wide, one seed, embedding untied) a
    loss of 0.73, 0.15 and 2.3 nats.
    """
    if config.initializer_range:
        return config.initializer_range
    return 0.4 * inputs**-0.5 * ((2 * config.num_layers) ** -0.5 if residual else 1.0)

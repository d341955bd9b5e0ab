"""LoRA (Hu et al., 2021): a projection's kernel W stays as it is, and a product A B of low rank is trained beside it.

  y = x W + scale (x A) B        A: [inputs, rank]   B: [rank, outputs]   scale = alpha / rank

B is zero at first, so that training begins at the base. `LlamaConfig.lora` gives the projections their adapters; the
parameters are then one nested dict, in which A and B stand beside the kernel (`layers/self_attn/q_proj/lora/a`), and
which `split` and `join` take apart and put together:

  adapters, base = split(forward.init(config))
  logits_BTV, _ = forward.apply(config, join(base, adapters), tokens_BT, positions_BT)
  logits_BTV, _ = forward.apply(config.base, merge(config.lora, base, adapters), tokens_BT, positions_BT)
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from agentbank_jax.errors import AgentBankError, did_you_mean

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What may have adapters: the projections of a layer."""

ADAPTER = "lora"
"""The key of an adapter in the parameters of its projection."""

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Which projections get adapters, and of what kind.

    Example:

      LoraConfig(projections="q_proj|v_proj", rank=16, alpha=32.0)

    Fields:
      projections: regular expression that the whole name of a projection matches: `q_proj|v_proj`, or `.*_proj` for
        all of them (see `PROJECTIONS`).
      rank: columns of A and rows of B.
      alpha: the product is multiplied by alpha / rank.
      rank_stabilised: by alpha / sqrt(rank) instead (rsLoRA, Kalajdzievski, 2023), which lets large ranks learn.
      dropout: share of an adapter's inputs that are zero in training; the others are divided by what is left.
      param_dtype: of A and B, whatever the base is stored in.
    """

    projections: str
    rank: int = 16
    alpha: float = 32.0
    rank_stabilised: bool = False
    dropout: float = 0.0
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        try:
            re.compile(self.projections)
        except re.error as error:
            raise AgentBankError(
                f"LoraConfig.projections={self.projections!r} is no regular expression ({error}); expected one such as "
                "'q_proj|v_proj' or '.*_proj'."
            ) from None
        # A misspelt name in a list of them would otherwise go unnoticed.
        for part in [self.projections] if "(" in self.projections else self.projections.split("|"):
            if not _matching(part):
                raise AgentBankError(
                    f"LoraConfig.projections={self.projections!r}: {part!r} matches no projection."
                    + did_you_mean(part, PROJECTIONS)
                )
        if self.rank < 1:
            raise AgentBankError(f"LoraConfig.rank={self.rank}: expected at least 1.")
        if not 0.0 < self.alpha < math.inf:
            raise AgentBankError(f"LoraConfig.alpha={self.alpha}: expected more than 0; twice the rank is usual.")
        if not 0.0 <= self.dropout < 1.0:
            raise AgentBankError(f"LoraConfig.dropout={self.dropout}: expected 0 or more and below 1.")
        if self.param_dtype not in DTYPES:
            raise AgentBankError(
                f"LoraConfig.param_dtype={self.param_dtype!r} is no known type."
                + did_you_mean(self.param_dtype, DTYPES)
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The projections that get adapters."""
        return _matching(self.projections)

    @property
    def scale(self) -> float:
        """By what A B is multiplied."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)


def _matching(pattern: str) -> tuple[str, ...]:
    return tuple(name for name in PROJECTIONS if re.fullmatch(pattern, name))


def dropped(x: Float[Array, "*shape"], rate: float, key: Array) -> Float[Array, "*shape"]:
    """`x` with a share `rate` of its values zero, and the others divided by 1 - rate (Srivastava et al., 2014)."""
    return jnp.where(jax.random.bernoulli(key, 1.0 - rate, x.shape), x / (1.0 - rate), 0).astype(x.dtype)


def split(params: Any) -> tuple[Any, Any]:
    """Takes parameters apart: the adapters, with the keys that lead to them, and all that is left."""
    adapters, base = {}, {}
    for key, value in params.items():
        if key == ADAPTER:
            adapters[key] = value
        elif isinstance(value, dict):
            below, base[key] = split(value)
            if below:
                adapters[key] = below
        else:
            base[key] = value
    return adapters, base


def join(base: Any, adapters: Any) -> Any:
    """The inverse of `split`."""
    joined = dict(base)
    for key, value in adapters.items():
        joined[key] = value if key == ADAPTER else join(base[key], value)
    return joined


def merge(config: LoraConfig, base: Any, adapters: Any, *, consume: bool = False) -> Any:
    """W + scale A B for each kernel that has an adapter, computed in float32 and of the kernel's own type.

    Args:
      config: of the adapters.
      base, adapters: from `split`.
      consume: whether the kernels' memory may be used again; `base` is of no use then.

    Returns:
      Parameters of the model without adapters.
    """
    merged = dict(base)
    for key, value in adapters.items():
        if ADAPTER in value:
            program = _merged_in_place if consume else _merged
            kernel = program(base[key]["kernel"], value[ADAPTER]["a"], value[ADAPTER]["b"], config.scale)
            merged[key] = {**base[key], "kernel": kernel}
        else:
            merged[key] = merge(config, base[key], value, consume=consume)
    return merged


def _merge_layers(
    kernel: Float[Array, "L inputs outputs"],
    a: Float[Array, "L inputs rank"],
    b: Float[Array, "L rank outputs"],
    scale: float,
) -> Float[Array, "L inputs outputs"]:
    def layer(parts):
        kernel, a, b = (part.astype(jnp.float32) for part in parts)
        return kernel + scale * jnp.matmul(a, b, precision="highest")

    # One layer at a time: the float32 of all of them together would not fit beside a large model.
    return jax.lax.map(lambda parts: layer(parts).astype(kernel.dtype), (kernel, a, b))


_merged = jax.jit(_merge_layers)
_merged_in_place = jax.jit(_merge_layers, donate_argnums=0)

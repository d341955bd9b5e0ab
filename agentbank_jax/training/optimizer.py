"""AdamW or Muon, with gradient clipping and a learning-rate schedule."""

from dataclasses import dataclass, replace

import jax
import optax
from optax import contrib

from agentbank_jax.errors import AgentBankError, did_you_mean

SCHEDULES = ("cosine", "linear", "constant")
OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter, 2019) or Muon (Jordan et al., 2024), and the schedule.

    Fields:
      name: "adamw", or "muon": each layer's kernels move by the orthogonalised momentum, and what is
        not a kernel (embedding, output projection, norm scales) by AdamW. Muon costs a few small matrix
        products a step; a tiny model learns from a quarter fewer tokens with it.
      learning_rate: the peak; Muon's is near 0.02.
      adam_learning_rate: the peak of what Muon leaves to AdamW; 0 takes `learning_rate`. For "muon" only.
      warmup_ratio: share of all steps in which the rate rises linearly from 0.
      warmup_steps: the same in steps; where > 0 it replaces `warmup_ratio`.
      schedule: what follows the warm-up: "cosine" or "linear" down to `final_ratio`, or "constant".
      final_ratio: last learning rate as a share of the peak.
      beta1, beta2, eps: of Adam.
      weight_decay: decoupled, on matrices only (not on norm scales).
      clip_norm: largest global gradient norm; 0 does not clip.
    """

    name: str = "adamw"
    learning_rate: float = 2e-5
    adam_learning_rate: float = 0.0
    warmup_ratio: float = 0.03
    warmup_steps: int = 0
    schedule: str = "cosine"
    final_ratio: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise AgentBankError(
                f"OptimizerConfig.name={self.name!r} is not known." + did_you_mean(self.name, OPTIMIZERS)
            )
        if self.adam_learning_rate and self.name != "muon":
            raise AgentBankError(
                f"OptimizerConfig.adam_learning_rate={self.adam_learning_rate} is for name='muon'; "
                f"{self.name!r} has one rate, learning_rate."
            )
        if self.schedule not in SCHEDULES:
            raise AgentBankError(
                f"OptimizerConfig.schedule={self.schedule!r} is not known." + did_you_mean(self.schedule, SCHEDULES)
            )
        if not self.learning_rate > 0:
            raise AgentBankError(f"OptimizerConfig.learning_rate={self.learning_rate}: expected more than 0.")
        for name in ("warmup_ratio", "final_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise AgentBankError(f"OptimizerConfig.{name}={getattr(self, name)}: expected 0 to 1.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise AgentBankError(f"OptimizerConfig.{name}={getattr(self, name)}: expected 0 or more and below 1.")
        for name in ("adam_learning_rate", "warmup_steps", "weight_decay", "clip_norm"):
            if getattr(self, name) < 0:
                raise AgentBankError(f"OptimizerConfig.{name}={getattr(self, name)}: expected 0 or more.")


def learning_rate_schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Learning rate of step n (from 0) of `total_steps`."""
    warmup = config.warmup_steps or round(config.warmup_ratio * total_steps)
    rest = max(1, total_steps - warmup)
    after = {
        "cosine": lambda: optax.cosine_decay_schedule(config.learning_rate, rest, alpha=config.final_ratio),
        "linear": lambda: optax.linear_schedule(config.learning_rate, config.learning_rate * config.final_ratio, rest),
        "constant": lambda: optax.constant_schedule(config.learning_rate),
    }[config.schedule]()
    if not warmup:
        return after
    # The first step already moves: it has the rate peak / warmup, not 0.
    rise = optax.linear_schedule(config.learning_rate / warmup, config.learning_rate, max(1, warmup - 1))
    return optax.join_schedules([rise, after], [warmup])


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """The optax transformation; `total_steps` sets the length of the schedule."""
    schedule = learning_rate_schedule(config, total_steps)
    if config.name == "muon":
        adam = replace(config, learning_rate=config.adam_learning_rate or config.learning_rate)
        optimizer = contrib.muon(
            schedule,
            eps=config.eps,
            weight_decay=config.weight_decay,
            adam_b1=config.beta1,
            adam_b2=config.beta2,
            adam_weight_decay=config.weight_decay,
            adam_learning_rate=learning_rate_schedule(adam, total_steps),
            weight_decay_mask=decay_mask,
            muon_weight_dimension_numbers=kernel_dimensions,
        )
    else:
        optimizer = optax.adamw(
            schedule,
            b1=config.beta1,
            b2=config.beta2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=decay_mask,
        )
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer) if config.clip_norm else optimizer


def kernel_dimensions(params):
    """What Muon orthogonalises: inputs x outputs of the stacked kernels [layers, inputs, outputs], and nothing else."""
    return jax.tree.map(lambda leaf: contrib.MuonDimensionNumbers(1, 2) if leaf.ndim == 3 else None, params)


def decay_mask(params):
    """True for kernels and embeddings, False for norm scales and biases."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in ("scale", "bias"), params)

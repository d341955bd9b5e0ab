"""AdamW, Muon, Lion or Adafactor, with gradient clipping and a learning-rate schedule."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import jax
import optax
from optax import contrib

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.parallel.sharding import LOGICAL_AXES, path_name
from agentbank_jax.training.schedule import DECAY_TYPES, SCHEDULES, make_schedule

MOMENT_DTYPES = ("float32", "bfloat16")

_DEFAULTS: dict[str, dict[str, Any]] = {
    "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "mu_dtype": None},
    "muon": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "mu_dtype": None, "adam_learning_rate": None},
    "lion": {"beta1": 0.9, "beta2": 0.99, "mu_dtype": None},
    "adafactor": {
        "beta1": None,
        "eps": 1e-30,
        "mu_dtype": None,
        "decay_rate": 0.8,
        "multiply_by_parameter_scale": True,
        "min_dim_size_to_factor": 128,
    },
}
"""What each optimizer takes beside the fields that all of them do, and what it takes where they are not set."""

_WSD_DEFAULTS: dict[str, Any] = {"decay_ratio": 0.1, "decay_steps": 0, "decay_type": "linear"}

OPTIMIZERS = tuple(_DEFAULTS)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and its schedule.

    A field that the optimizer or the schedule does not take is refused where it is set.

    Example:

      OptimizerConfig(name="adafactor", learning_rate=1e-3, schedule="wsd", decay_ratio=0.2)

    Fields:
      name: "adamw" (Loshchilov and Hutter, 2019);
        "muon" (Jordan et al., 2024): each layer's kernels move by the orthogonalised momentum, and what is
        not a kernel (embedding, output projection, norm scales) by AdamW. Muon costs a few small matrix
        products a step; a tiny model learns from a quarter fewer tokens with it;
        "lion" (Chen et al., 2023): every value moves by the sign of a mean of gradients, so that there is one moment;
        "adafactor" (Shazeer and Stern, 2018): the second moment of a kernel is a row and a column, each layer's its
        own, and there is no first one.
      learning_rate: the peak. Muon's is near 0.02, Lion's a third to a tenth of AdamW's, Adafactor's near 1e-3, because
        it is a share of the parameter's root mean square.
      adam_learning_rate: the peak of what Muon leaves to AdamW; 0 takes `learning_rate`. For "muon" only.
      warmup_ratio: share of all steps in which the rate rises linearly from 0.
      warmup_steps: the same in steps; where > 0 it replaces `warmup_ratio`.
      schedule: what follows the warm-up: "cosine" or "linear" down to `final_ratio`, "constant", or "wsd", which is
        constant and falls at the end alone (see `training.schedule`).
      final_ratio: last learning rate as a share of the peak.
      decay_ratio: share of all steps in which the rate falls; 0.1 by default. For "wsd" only, as the two below.
      decay_steps: the same in steps; where > 0 it replaces `decay_ratio`.
      decay_type: "linear", the default, "cosine" or "sqrt".
      beta1: share of the first moment that a step keeps: 0.9; for "adafactor" None, which keeps no moment.
      beta2: of AdamW's second moment, 0.999; for "lion" of its one moment, 0.99, of which `beta1` makes the step.
      eps: added to the root of the second moment, 1e-8; for "adafactor" to the squares of gradients, 1e-30.
      decay_rate: of "adafactor": step n keeps 1 - n ** -decay_rate of the second moment; 0.8.
      multiply_by_parameter_scale: of "adafactor": whether the rate is a share of the parameter's root mean square; yes.
      min_dim_size_to_factor: of "adafactor": kernels with a smaller side keep their whole second moment; 128.
      mu_dtype: of the first moment, "float32" or "bfloat16"; None takes the parameter's. Lion's and Muon's moments are
        first ones; for "adafactor" only with `beta1`.
      weight_decay: decoupled, and multiplied by the learning rate.
      no_decay: regular expressions; parameters whose whole name one of them matches are not decayed. Names are as
        `layers/mlp/up_proj/kernel`.
      clip_norm: largest global gradient norm; 0 does not clip.
    """

    name: str = "adamw"
    learning_rate: float = 2e-5
    adam_learning_rate: float = 0.0
    warmup_ratio: float = 0.03
    warmup_steps: int = 0
    schedule: str = "cosine"
    final_ratio: float = 0.0
    decay_ratio: float | None = None
    decay_steps: int = 0
    decay_type: str | None = None
    beta1: float | None = None
    beta2: float | None = None
    eps: float | None = None
    decay_rate: float | None = None
    multiply_by_parameter_scale: bool | None = None
    min_dim_size_to_factor: int | None = None
    mu_dtype: str | None = None
    weight_decay: float = 0.0
    no_decay: tuple[str, ...] = (".*/scale", ".*/bias")
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (
            ("name", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("decay_type", (None, *DECAY_TYPES)),
            ("mu_dtype", (None, *MOMENT_DTYPES)),
        ):
            value = getattr(self, name)
            if value not in known:
                suggestion = did_you_mean(str(value), [each for each in known if each])
                raise AgentBankError(f"OptimizerConfig.{name}={value!r} is not known.{suggestion}")
        self._check_unused("name", self.name, _DEFAULTS)
        self._check_unused("schedule", self.schedule, {each: {} for each in SCHEDULES} | {"wsd": _WSD_DEFAULTS})
        self._check_numbers()
        if self.mu_dtype and self.name == "adafactor" and not self.beta1:
            raise AgentBankError(
                f"OptimizerConfig.mu_dtype={self.mu_dtype!r}: 'adafactor' has no first moment without beta1; "
                "set beta1, or leave mu_dtype out."
            )
        self._check_no_decay()

    def _check_unused(self, field: str, chosen: str, takers: dict[str, dict[str, Any]]) -> None:
        unset = {field.name: field.default for field in fields(self)}
        for name in dict.fromkeys(name for taken in takers.values() for name in taken):
            if name not in takers[chosen] and getattr(self, name) != unset[name]:
                others = " or ".join(repr(taker) for taker, taken in takers.items() if name in taken)
                raise AgentBankError(
                    f"OptimizerConfig.{name}={getattr(self, name)!r} is for {field}={others}; {chosen!r} does not take "
                    f"it: leave it out (or set it to {unset[name]!r})."
                )

    def _check_numbers(self) -> None:
        if not 0 < self.learning_rate < float("inf"):
            raise AgentBankError(f"OptimizerConfig.learning_rate={self.learning_rate}: expected a number above 0.")
        for names, fits, expected in (
            (("warmup_ratio", "final_ratio", "decay_ratio"), lambda value: 0 <= value <= 1, "0 to 1"),
            (("beta1", "beta2"), lambda value: 0 <= value < 1, "0 or more and below 1"),
            (
                ("adam_learning_rate", "warmup_steps", "decay_steps", "eps", "weight_decay", "clip_norm"),
                lambda value: value >= 0,
                "0 or more",
            ),
            (("decay_rate",), lambda value: value > 0, "more than 0"),
            (("min_dim_size_to_factor",), lambda value: value >= 2, "at least 2"),
        ):
            for name in names:
                value = getattr(self, name)
                if value is not None and not fits(value):
                    raise AgentBankError(f"OptimizerConfig.{name}={value}: expected {expected}.")
        if not self.warmup_steps and not self.decay_steps and self.warmup_ratio + (self.decay_ratio or 0.0) > 1:
            raise AgentBankError(
                f"OptimizerConfig.warmup_ratio={self.warmup_ratio} and decay_ratio={self.decay_ratio} are more than "
                "the whole run; expected a sum of at most 1."
            )

    def _check_no_decay(self) -> None:
        for pattern in self.no_decay:
            try:
                matches = [name for name in LOGICAL_AXES if re.fullmatch(pattern, name)]
            except re.error as error:
                raise AgentBankError(
                    f"OptimizerConfig.no_decay: {pattern!r} is no regular expression ({error}); expected one such as "
                    "'embed_tokens/.*'."
                ) from None
            if not matches:
                raise AgentBankError(
                    f"OptimizerConfig.no_decay: {pattern!r} matches the whole name of no parameter."
                    + did_you_mean(pattern, LOGICAL_AXES)
                )

    @property
    def settings(self) -> dict[str, Any]:
        """What the optimizer and the schedule take of their own, with the defaults of what is not set."""
        defaults = _DEFAULTS[self.name] | (_WSD_DEFAULTS if self.schedule == "wsd" else {})
        given = {name: getattr(self, name) for name in defaults}
        return {name: defaults[name] if value is None else value for name, value in given.items()}

    def decays(self, params: Any) -> Any:
        """Whether each parameter is decayed: a tree of the parameters' structure."""
        return jax.tree_util.tree_map_with_path(
            lambda path, _: not any(re.fullmatch(pattern, path_name(path)) for pattern in self.no_decay), params
        )


def learning_rate_schedule(config: OptimizerConfig, total_steps: int, *, learning_rate: float = 0.0) -> optax.Schedule:
    """Learning rate of step n (from 0) of `total_steps`.

    Args:
      config: of the schedule.
      total_steps: of the run.
      learning_rate: the peak; 0 takes the configuration's.
    """
    wsd = config.settings if config.schedule == "wsd" else _WSD_DEFAULTS
    return make_schedule(
        config.schedule,
        peak=learning_rate or config.learning_rate,
        final_ratio=config.final_ratio,
        total_steps=total_steps,
        warmup_steps=config.warmup_steps or round(config.warmup_ratio * total_steps),
        decay_steps=wsd["decay_steps"] or round(wsd["decay_ratio"] * total_steps),
        decay_type=wsd["decay_type"],
    )


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """The optax transformation; `total_steps` sets the length of the schedule."""
    optimizer = _MAKERS[config.name](config, total_steps)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer) if config.clip_norm else optimizer


def _adamw(
    config: OptimizerConfig, total_steps: int, *, learning_rate: float = 0.0, nesterov: bool = False
) -> optax.GradientTransformation:
    return optax.adamw(
        learning_rate_schedule(config, total_steps, learning_rate=learning_rate),
        b1=config.settings["beta1"],
        b2=config.settings["beta2"],
        eps=config.settings["eps"],
        mu_dtype=config.mu_dtype,
        weight_decay=config.weight_decay,
        mask=config.decays,
        nesterov=nesterov,
    )


def _muon(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    kernels = contrib.muon(
        learning_rate_schedule(config, total_steps),
        eps=config.settings["eps"],
        mu_dtype=config.mu_dtype,
        weight_decay=config.weight_decay,
        weight_decay_mask=config.decays,
        muon_weight_dimension_numbers=kernel_dimensions,
    )
    # optax's own would decay all that it leaves to AdamW.
    others = _adamw(config, total_steps, learning_rate=config.adam_learning_rate, nesterov=True)
    return optax.partition(
        {"kernels": kernels, "others": others},
        lambda params: jax.tree.map(lambda leaf: "kernels" if leaf.ndim == 3 else "others", params),
    )


def _lion(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    return optax.lion(
        learning_rate_schedule(config, total_steps),
        b1=config.settings["beta1"],
        b2=config.settings["beta2"],
        mu_dtype=config.mu_dtype,
        weight_decay=config.weight_decay,
        mask=config.decays,
    )


def _adafactor(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    schedule = learning_rate_schedule(config, total_steps)
    optimizer = optax.adafactor(
        schedule,
        min_dim_size_to_factor=config.settings["min_dim_size_to_factor"],
        decay_rate=config.settings["decay_rate"],
        multiply_by_parameter_scale=config.settings["multiply_by_parameter_scale"],
        momentum=config.beta1,
        dtype_momentum=config.mu_dtype or "float32",
        # optax takes a rate that it does not multiply by the learning rate, as the other optimizers do.
        weight_decay_rate=(lambda count: config.weight_decay * schedule(count)) if config.weight_decay else None,
        weight_decay_mask=config.decays,
        eps=config.settings["eps"],
    )
    return optax.partition(
        {"layers": _each_layer(optimizer), "others": optimizer},
        lambda params: {name: "layers" if name == "layers" else "others" for name in params},
    )


_MAKERS: dict[str, Callable[[OptimizerConfig, int], optax.GradientTransformation]] = {
    "adamw": _adamw,
    "muon": _muon,
    "lion": _lion,
    "adafactor": _adafactor,
}


def _each_layer(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Takes stacked layers one by one: rows, columns and root mean squares are a layer's."""
    return optax.GradientTransformation(
        jax.vmap(optimizer.init), lambda grads, state, params: jax.vmap(optimizer.update)(grads, state, params)
    )


def kernel_dimensions(params):
    """What Muon orthogonalises: inputs x outputs of the stacked kernels [layers, inputs, outputs], and nothing else."""
    return jax.tree.map(lambda leaf: contrib.MuonDimensionNumbers(1, 2) if leaf.ndim == 3 else None, params)

"""Learning rates by step: a linear rise to the peak, and what follows it."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

SCHEDULES = ("cosine", "linear", "constant", "wsd")

DECAY_TYPES: dict[str, Callable[[float, float, int], optax.Schedule]] = {
    "linear": lambda peak, final_ratio, steps: optax.linear_schedule(peak, peak * final_ratio, steps),
    "cosine": lambda peak, final_ratio, steps: optax.cosine_decay_schedule(peak, steps, alpha=final_ratio),
    "sqrt": lambda peak, final_ratio, steps: _one_minus_sqrt(peak, final_ratio, steps),
}
"""The ways down from a peak to a share of it, in so many steps."""


def make_schedule(
    name: str,
    *,
    peak: float,
    final_ratio: float,
    total_steps: int,
    warmup_steps: int,
    decay_steps: int = 0,
    decay_type: str = "linear",
) -> optax.Schedule:
    """The learning rate of step n, from 0.

    After the warm-up "cosine" and "linear" fall over all steps that are left, "constant" stays, and "wsd"
    (warmup-stable-decay, Hu et al., 2024) stays until the last `decay_steps` and falls in these. A rate reaches
    `final_ratio` x `peak` at step `total_steps`, one after the last that is done.

    Args:
      name: one of `SCHEDULES`.
      peak: the largest rate.
      final_ratio: the last rate as a share of the peak; "constant" has none.
      total_steps: of the run.
      warmup_steps: in which the rate rises; the first has peak / warmup_steps, because a rate of 0 would waste it.
      decay_steps: of "wsd"; in a run too short for them the decay begins right after the warm-up.
      decay_type: of "wsd", one of `DECAY_TYPES`: "linear", "cosine", or "sqrt", where the share of the fall that is
        done after a share s of its steps is the square root of s ("1-sqrt", Hägele et al., 2024).
    """
    rest = max(1, total_steps - warmup_steps)
    constant = optax.constant_schedule(peak)
    if name == "constant":
        parts, bounds = [constant], []
    elif name == "wsd":
        decay_steps = max(1, min(decay_steps, rest))
        parts = [constant, DECAY_TYPES[decay_type](peak, final_ratio, decay_steps)]
        bounds = [warmup_steps + rest - decay_steps]
    else:
        parts, bounds = [DECAY_TYPES[name](peak, final_ratio, rest)], []
    if warmup_steps:
        parts = [optax.linear_schedule(peak / warmup_steps, peak, max(1, warmup_steps - 1)), *parts]
        bounds = [warmup_steps, *bounds]
    return optax.join_schedules(parts, bounds) if bounds else parts[0]


def _one_minus_sqrt(peak: float, final_ratio: float, steps: int) -> optax.Schedule:
    def schedule(count):
        fallen = jnp.sqrt(jnp.clip(count / steps, 0.0, 1.0))
        return peak * (1.0 - (1.0 - final_ratio) * fallen)

    return schedule

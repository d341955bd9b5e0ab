"""How the next token is chosen on the device; for the shape letters see `generation.programs`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from agentbank_jax.generation.requests import SamplingParams

Mode = Literal["greedy", "sample", "truncate"]
"""What the rows of a call need: the most likely token, a draw from all tokens, or a draw from some of them."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sampler:
    """The parameters of each row's distribution, as `SamplingParams` has them.

    Fields:
      temperature_R, top_k_R, top_p_R, min_p_R: a row with temperature 0 takes the most likely token.
      key_R2: a key of Threefry, made from the seed.
    """

    temperature_R: Float[np.ndarray, " R"] | Float[Array, " R"]
    top_k_R: Int[np.ndarray, " R"] | Int[Array, " R"]
    top_p_R: Float[np.ndarray, " R"] | Float[Array, " R"]
    min_p_R: Float[np.ndarray, " R"] | Float[Array, " R"]
    key_R2: UInt[np.ndarray, "R 2"] | UInt[Array, "R 2"]

    @classmethod
    def of(cls, rows: Sequence[SamplingParams | None]) -> "Sampler":
        """Of the rows of a call; None is a row without work."""
        chosen = [row or SamplingParams() for row in rows]
        seeds = np.array([row.seed for row in chosen], np.int64).view(np.uint64)
        # Values that the devices' types cannot hold become the nearest that they can: what is kept is the same.
        least, most = np.finfo(np.float32).tiny, np.iinfo(np.int32).max
        return cls(
            np.array([max(row.temperature, least) if row.temperature else 0.0 for row in chosen], np.float32),
            np.array([min(row.top_k, most) for row in chosen], np.int32),
            np.array([max(row.top_p, least) for row in chosen], np.float32),
            np.array([row.min_p for row in chosen], np.float32),
            np.stack([seeds >> np.uint64(32), seeds & np.uint64(0xFFFFFFFF)], axis=1).astype(np.uint32),
        )


def mode_of(rows: Sequence[SamplingParams]) -> Mode:
    """The cheapest mode that serves all rows; a row's token does not depend on it."""
    drawn = [row for row in rows if not row.greedy]
    if not drawn:
        return "greedy"
    return "truncate" if any(row.top_k or row.top_p < 1 or row.min_p for row in drawn) else "sample"


def choose(mode: Mode, logits_RV: Float[Array, "R V"], sampler: Sampler, step_R: Int[Array, " R"]) -> Int[Array, " R"]:
    """The next token of each row.

    A draw takes the largest of logits plus Gumbel noise, which follows the softmax. The noise belongs to a token, a
    seed and a place in the reply alone, so that the draw is the same in any company and any mode.

    Args:
      mode: at least what the rows need.
      logits_RV: float32.
      sampler: of the rows.
      step_R: how many tokens the reply has already.
    """
    greedy_R = jnp.argmax(logits_RV, axis=-1).astype(jnp.int32)
    if mode == "greedy":
        return greedy_R
    drawn_R = sampler.temperature_R > 0
    # Below the largest: a small temperature would take several logits to infinity, and they would be alike.
    below_RV = logits_RV - jnp.max(logits_RV, axis=-1, keepdims=True)
    scaled_RV = below_RV / jnp.where(drawn_R, sampler.temperature_R, 1.0)[:, None]
    if mode == "truncate":
        scaled_RV = jnp.where(kept(scaled_RV, sampler), scaled_RV, -jnp.inf)
    keys_R = jax.vmap(jax.random.fold_in)(
        jax.random.wrap_key_data(jnp.asarray(sampler.key_R2), impl="threefry2x32"), step_R
    )
    noise_RV = jax.vmap(lambda key: jax.random.gumbel(key, logits_RV.shape[1:], jnp.float32))(keys_R)
    sampled_R = jnp.argmax(scaled_RV + noise_RV, axis=-1).astype(jnp.int32)
    return jnp.where(drawn_R, sampled_R, greedy_R)


def kept(scaled_RV: Float[Array, "R V"], sampler: Sampler) -> Bool[Array, "R V"]:
    """The tokens that top_k, top_p and min_p leave, in this order; those as likely as the last one stay with it."""
    size = scaled_RV.shape[-1]
    descending_RV = -jnp.sort(-scaled_RV, axis=-1)
    top_k_R = jnp.where(sampler.top_k_R > 0, jnp.minimum(sampler.top_k_R, size), size)
    lowest_R1 = jnp.take_along_axis(descending_RV, top_k_R[:, None] - 1, axis=-1)
    probability_RV = jax.nn.softmax(jnp.where(descending_RV >= lowest_R1, descending_RV, -jnp.inf), axis=-1)
    before_RV = jnp.cumsum(probability_RV, axis=-1) - probability_RV
    # Rounding in the sum must not drop a token where all are kept.
    nucleus_RV = (before_RV < sampler.top_p_R[:, None]) | (sampler.top_p_R[:, None] >= 1)
    lowest_R1 = jnp.maximum(lowest_R1, jnp.min(jnp.where(nucleus_RV, descending_RV, jnp.inf), axis=-1, keepdims=True))
    # log 0 is minus infinity, which cuts nothing.
    lowest_R1 = jnp.maximum(lowest_R1, descending_RV[:, :1] + jnp.log(sampler.min_p_R)[:, None])
    return scaled_RV >= lowest_R1


def log_probabilities(
    logits: Float[Array, "... V"], tokens: Int[Array, "..."], top: int
) -> tuple[Float[Array, "..."], Int[Array, "... n"], Float[Array, "... n"]]:
    """Natural log-probabilities of `tokens`, and the ids and log-probabilities of the `top` most likely ones."""
    total = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0] - total
    top_logits, top_ids = jax.lax.top_k(logits, top)
    return chosen, top_ids.astype(jnp.int32), top_logits - total[..., None]

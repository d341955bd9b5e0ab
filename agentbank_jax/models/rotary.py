"""Rotary position embeddings (RoPE, Su et al., 2021); for the shape letters see `models.llama`."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from agentbank_jax.models.llama_config import LlamaConfig


def rotary_frequencies(config: LlamaConfig) -> Float[np.ndarray, " h/2"]:
    """Radians by which each pair of a head turns from one token to the next, float32.

    Pair i turns by rope_theta ** (-2i / h). "linear" divides all by `rope_factor` (position interpolation, Chen et
    al., 2023). "llama3" (Llama 3.1) counts a pair's turns within `rope_original_max_position` tokens: at most
    `rope_low_freq_factor`, and the frequency is divided; at least `rope_high_freq_factor`, and it stays; between
    the two the divided and the full frequency are interpolated, linearly in the turns.
    """
    frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    if config.rope_scaling == "linear":
        frequencies = frequencies / config.rope_factor
    elif config.rope_scaling == "llama3":
        turns = config.rope_original_max_position * frequencies / (2 * np.pi)
        low, high = config.rope_low_freq_factor, config.rope_high_freq_factor
        kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
        frequencies = frequencies * (kept + (1.0 - kept) / config.rope_factor)
    return frequencies.astype(np.float32)


def rotary_tables(
    positions_BT: Int[Array, "B T"], config: LlamaConfig
) -> tuple[Float[Array, "B T 1 h/2"], Float[Array, "B T 1 h/2"]]:
    """Cosine and sine of position x frequency (RoPE, Su et al., 2021), float32, with room for a head axis."""
    angles = positions_BT[:, :, None, None].astype(jnp.float32) * rotary_frequencies(config)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Float[Array, "B T N h"], cos: Float[Array, "B T 1 h/2"], sin: Float[Array, "B T 1 h/2"]) -> Array:
    """Turns the pairs (x[i], x[i + h/2]): the "rotate half" layout of Hugging Face checkpoints."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)

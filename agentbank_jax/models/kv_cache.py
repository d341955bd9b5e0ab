"""Keys and values of what each conversation has already said: one array per layer, heads before positions.

Attention then reads a layer as it lies in memory. On CPU one decoding step over a stacked
[L, B, S, K, h] cache spends most of its time on copying and transposing it (32 conversations
of 1,024 tokens: 23 ms a layer against 1.5 ms).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KVCache:
    """One slot per resident conversation; position s of a slot holds the conversation's token s.

    A query at position p reads positions 0..p, all written by its own conversation, so nothing
    ever needs clearing.

    Fields:
      k: for each layer keys [B, K, S, h], already turned by their positions.
      v: for each layer values, the same shape.
    """

    k: tuple[Float[Array, "B K S h"], ...]
    v: tuple[Float[Array, "B K S h"], ...]

    @classmethod
    def empty(cls, config, slots: int, length: int) -> "KVCache":
        """An all-zero cache for `slots` conversations of up to `length` tokens, in `config.dtype` (a `LlamaConfig`)."""
        shape = (slots, config.num_kv_heads, length, config.head_dim)
        return cls(*(tuple(jnp.zeros(shape, config.dtype) for _ in range(config.num_layers)) for _ in "kv"))

    @property
    def length(self) -> int:
        """Positions per conversation, S."""
        return self.k[0].shape[2]

    def write(
        self,
        layer: int,
        k_BTKh: Float[Array, "B T K h"],
        v_BTKh: Float[Array, "B T K h"],
        positions_BT: Int[Array, "B T"],
    ) -> "KVCache":
        """Writes one layer's new keys and values; a position >= S is dropped (padding)."""
        rows_B1 = jnp.arange(k_BTKh.shape[0])[:, None]

        def put(stored: tuple[Array, ...], new: Array) -> tuple[Array, ...]:
            changed = stored[layer].at[rows_B1, :, positions_BT].set(new.astype(stored[layer].dtype), mode="drop")
            return (*stored[:layer], changed, *stored[layer + 1 :])

        return KVCache(put(self.k, k_BTKh), put(self.v, v_BTKh))

    def read(self, layer: int) -> tuple[Float[Array, "B S K h"], Float[Array, "B S K h"]]:
        """Keys and values of one layer, seen with positions before heads."""
        return self.k[layer].swapaxes(1, 2), self.v[layer].swapaxes(1, 2)

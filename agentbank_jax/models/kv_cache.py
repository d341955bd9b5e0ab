"""Keys and values of what each conversation has already said."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KVCache:
    """One row of slots per conversation; slot s holds the token at position s.

    Nothing needs clearing: a query at position p reads slots 0..p, all of which its own
    conversation has written.

    Fields:
      k_LBSKh: keys, already turned by their positions.
      v_LBSKh: values.
    """

    k_LBSKh: Float[Array, "L B S K h"]
    v_LBSKh: Float[Array, "L B S K h"]

    @classmethod
    def empty(cls, config, batch: int, length: int, dtype: str | None = None) -> "KVCache":
        """An all-zero cache for `batch` conversations of up to `length` tokens.

        Args:
          config: a `LlamaConfig`.
          batch: conversations, B.
          length: slots, S.
          dtype: of keys and values; `config.dtype` if None.
        """
        shape = (config.num_layers, batch, length, config.num_kv_heads, config.head_dim)
        return cls(jnp.zeros(shape, dtype or config.dtype), jnp.zeros(shape, dtype or config.dtype))

    @property
    def length(self) -> int:
        """Slots per conversation, S."""
        return self.k_LBSKh.shape[2]

    def write(
        self,
        layer: int | Int[Array, ""],
        k_BTKh: Float[Array, "B T K h"],
        v_BTKh: Float[Array, "B T K h"],
        positions_BT: Int[Array, "B T"],
    ) -> "KVCache":
        """Writes one layer's new keys and values; a position >= S is dropped (use it for padding)."""
        rows_B1 = jnp.arange(k_BTKh.shape[0])[:, None]

        def put(stored, new):
            return stored.at[layer, rows_B1, positions_BT].set(new.astype(stored.dtype), mode="drop")

        return KVCache(put(self.k_LBSKh, k_BTKh), put(self.v_LBSKh, v_BTKh))

    def read(self, layer: int | Int[Array, ""]) -> tuple[Float[Array, "B S K h"], Float[Array, "B S K h"]]:
        """Keys and values of one layer."""
        return self.k_LBSKh[layer], self.v_LBSKh[layer]

"""Attention backends for packed rows, and attention over a cache.

  backend = get_backend("xla")
  out_BTHh = backend(q_BTHh, k_BTKh, v_BTKh, segment_ids_BT)

Token t attends to the tokens s <= t of its own segment. Segments are contiguous; padding is segment 0
and its output is never used. `choose_backend` tries a backend on the device before a run relies on it.
"""

from agentbank_jax.models.attention import blockwise, cudnn, splash, tokamax
from agentbank_jax.models.attention.decoding import CACHED, cached_attention, choose_cached
from agentbank_jax.models.attention.plain import masked_attention
from agentbank_jax.models.attention.probe import choose_backend
from agentbank_jax.models.attention.registry import AUTO, BACKENDS, check_backend, get_backend

__all__ = [
    "AUTO",
    "BACKENDS",
    "CACHED",
    "blockwise",
    "cached_attention",
    "check_backend",
    "choose_backend",
    "choose_cached",
    "cudnn",
    "get_backend",
    "masked_attention",
    "splash",
    "tokamax",
]

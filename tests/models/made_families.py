"""Two small models of different families, whose fresh parameters tests share: to make them takes seconds to compile."""

from dataclasses import replace
from functools import lru_cache

from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig

# Some kernels have more outputs than are converted from int8 at once on CPU, and not a multiple of that. All divide
# over 8 devices.
LLAMA = LlamaConfig(vocab_size=300, hidden_size=48, intermediate_size=272, num_layers=2, num_heads=6, num_kv_heads=2)
FAMILIES = {"llama": LLAMA, "qwen2": replace(LLAMA, family="qwen2", tie_word_embeddings=True)}


@lru_cache
def fresh_params(family: str) -> forward.Params:
    """Of `FAMILIES[family]`."""
    return forward.init(FAMILIES[family], 1)

"""The model of `transformers` that benchmarks measure beside this project's."""

import torch
import transformers

from agentbank_jax.models.llama_config import LlamaConfig


def peer_model(shape: dict[str, int], dtype: str, device: torch.device, **options) -> transformers.LlamaForCausalLM:
    """A model of the same shape with random weights of `dtype`; options go to its configuration."""
    ours = LlamaConfig(**shape)
    config = transformers.LlamaConfig(
        vocab_size=ours.vocab_size,
        hidden_size=ours.hidden_size,
        intermediate_size=ours.intermediate_size,
        num_hidden_layers=ours.num_layers,
        num_attention_heads=ours.num_heads,
        num_key_value_heads=ours.num_kv_heads,
        max_position_embeddings=ours.max_position_embeddings,
        **options,
    )
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with device:
            return transformers.LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)

"""Models of `transformers` with random weights, which parity tests compare; imported where PyTorch is there alone."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import state_shardings

SHAPE = {
    "vocab_size": 99,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "initializer_range": 0.2,
    "max_position_embeddings": 256,
}
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 32}  # fmt: skip
MODELS = {
    "llama2": ("Llama", {"num_key_value_heads": 6, "rms_norm_eps": 1e-5}),
    "codellama": ("Llama", {"num_key_value_heads": 2, "rope_parameters": {"rope_theta": 1e6}}),
    "llama3": ("Llama", {"num_key_value_heads": 2, "rope_parameters": {"rope_theta": 5e5, **LLAMA3_ROPE}}),
    "llama3.2": (
        "Llama",
        {
            "num_key_value_heads": 2,
            "head_dim": 16,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_theta": 5e5, **LLAMA3_ROPE, "factor": 32.0},
        },
    ),
    "linear": ("Llama", {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}}),
    "tinyllama": ("Llama", {"num_key_value_heads": 1, "rms_norm_eps": 1e-5}),
    "mistral": ("Mistral", {"num_key_value_heads": 2, "sliding_window": None, "rope_parameters": {"rope_theta": 1e6}}),
    "qwen2.5": ("Qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen2.5-7b": ("Qwen2", {"num_key_value_heads": 2, "rope_parameters": {"rope_theta": 1e6}}),
}


def make_reference(name: str, folder: Path, **options):
    """A model of `transformers` with random weights, saved; norms and biases are random too."""
    family, values = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**SHAPE, **values, attn_implementation="eager")
    torch.manual_seed(7)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key or key.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder, **options)
    return model


def load(folder: Path):
    config = read_config(folder).model
    shardings = state_shardings(make_mesh(MeshConfig(fsdp=1), jax.devices()[:1]), forward.abstract_params(config))
    return config, open_checkpoint(folder, config).load(shardings, "float32")


def rows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, SHAPE["vocab_size"], (2, 100), dtype=np.int32)


def jax_loss(config, params, tokens):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    logits, _ = forward.apply(config, params, tokens, positions)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), tokens[:, 1:, None], axis=-1)
    return -chosen.mean(), logits

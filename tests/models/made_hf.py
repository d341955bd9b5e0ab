"""Hugging Face checkpoints made by hand, without `transformers`: names, shapes and files are written out here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

# Llama in miniature, in the keys of a published config.json.
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 24,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
QWEN2: dict[str, Any] = {
    **LLAMA,
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "sliding_window": 32,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
}


def made_tensors(config: Mapping[str, Any], dtype: Any = np.float32, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors with the names and shapes of a checkpoint of `config`; a projection is [outputs, inputs]."""
    wide, inner = config["hidden_size"], config["intermediate_size"]
    heads = wide
    kv = wide // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], wide),
        "model.norm.weight": (wide,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], wide)
    for layer in range(config["num_hidden_layers"]):
        before = f"model.layers.{layer}."
        shapes[before + "input_layernorm.weight"] = (wide,)
        shapes[before + "post_attention_layernorm.weight"] = (wide,)
        shapes[before + "self_attn.q_proj.weight"] = (heads, wide)
        shapes[before + "self_attn.k_proj.weight"] = (kv, wide)
        shapes[before + "self_attn.v_proj.weight"] = (kv, wide)
        shapes[before + "self_attn.o_proj.weight"] = (wide, heads)
        shapes[before + "mlp.gate_proj.weight"] = (inner, wide)
        shapes[before + "mlp.up_proj.weight"] = (inner, wide)
        shapes[before + "mlp.down_proj.weight"] = (wide, inner)
        if config["model_type"] == "qwen2":
            shapes[before + "self_attn.q_proj.bias"] = (heads,)
            shapes[before + "self_attn.k_proj.bias"] = (kv,)
            shapes[before + "self_attn.v_proj.bias"] = (kv,)
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def write_made(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], *, shards: int = 1) -> Path:
    """Writes `config.json` and the tensors, dealt out to `shards` files so that layers lie in several."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    weight_map = {name: f"model-{n % shards + 1:05}-of-{shards:05}.safetensors" for n, name in enumerate(tensors)}
    for file in sorted(set(weight_map.values())):
        part = {name: tensor for name, tensor in tensors.items() if weight_map[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder

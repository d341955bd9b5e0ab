"""Adapters in the layout of Hugging Face's `peft`: `adapter_config.json` and `adapter_model.safetensors`."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.hf_export import hf_array, write_json, write_tensors
from agentbank_jax.models.hf_names import peft_tensors
from agentbank_jax.models.hf_shards import open_shard
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import PROJECTIONS, LoraConfig

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"

# Values that change what an adapter computes, and the only one that is computed here; None and what is empty say no.
_FIXED: dict[str, object] = {
    "peft_type": "LORA",
    "bias": "none",
    "use_dora": False,
    "lora_bias": False,
    "fan_in_fan_out": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "modules_to_save": None,
    "layers_to_transform": None,
    "layer_replication": None,
    "target_parameters": None,
    "trainable_token_indices": None,
    "alora_invocation_tokens": None,
    "use_qalora": False,
    "use_bdlora": None,
    "arrow_config": None,
    "kasa_config": None,
    "monteclora_config": None,
}
# Ways to make an adapter's first values that leave the weights beside it as they are; the others (PiSSA, OLoRA, CorDA,
# LoRA-GA, LoftQ) change those too, and peft does so again when it loads the adapter.
_INITIALISATIONS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")


def write_adapter(folder: Path, config: LlamaConfig, adapters: forward.Params, *, base: str) -> Path:
    """Writes adapters into a folder that exists.

    Args:
      folder: where to write; see `whole_files.whole_folder`.
      config: the model, with its `lora`.
      adapters: from `lora.split`; written in their own type.
      base: folder or name of the weights that they belong to.

    Returns:
      The file with the adapters.
    """
    assert config.lora is not None
    content = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.lora.rank,
        "lora_alpha": config.lora.alpha,
        "lora_dropout": config.lora.dropout,
        "use_rslora": config.lora.rank_stabilised,
        "target_modules": list(config.lora.names),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    write_json(folder / CONFIG_FILE, content)
    write_tensors(folder / WEIGHTS_FILE, {tensor.name: hf_array(adapters, tensor) for tensor in peft_tensors(config)})
    return folder / WEIGHTS_FILE


def read_adapter(folder: str | os.PathLike[str], config: LlamaConfig) -> tuple[LlamaConfig, forward.Params]:
    """Reads an adapter that `peft` or `write_adapter` wrote.

    Args:
      folder: of the adapter.
      config: the model that it belongs to.

    Returns:
      The model with the adapter's `lora`, and the adapters, NumPy arrays in float32 (see `models.lora`).

    Raises:
      AgentBankError: files are missing or damaged, the adapter computes something else, or its tensors are not those
        of the model.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AgentBankError(
            f"{path}: cannot be read ({error}); expected the folder of an adapter of peft ({CONFIG_FILE} and "
            f"{WEIGHTS_FILE})."
        ) from None
    if not isinstance(values, dict):
        raise AgentBankError(f"{path}: holds a {type(values).__name__}; expected a JSON object.")
    file = Path(folder) / WEIGHTS_FILE
    if not file.is_file():
        raise AgentBankError(
            f"{file} does not exist; expected it beside {CONFIG_FILE} (an adapter_model.bin is a pickle, "
            "which could run any program and is not read)."
        )
    with open_shard(file) as opened:
        found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no dict)
    try:
        adapted = _with_adapters(config, values, found)
    except AgentBankError as error:
        raise AgentBankError(f"{path}: {error}") from None
    wanted = {tensor.name: tensor for tensor in peft_tensors(adapted)}
    problems = [f"{name}: missing" for name in wanted if name not in found]
    problems += [f"{name}: no adapter of the model" for name in found if name not in wanted]
    problems += [
        f"{name}: shape {list(found[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if problems:
        raise AgentBankError(f"{file}: does not fit the model: {'; '.join(problems[:4])} ({len(problems)} in all).")
    adapters: forward.Params = {}
    for name, tensor in wanted.items():
        place = adapters
        for key in tensor.path[:-1]:
            place = place.setdefault(key, {})
        stack = place.setdefault(tensor.path[-1], np.empty((config.num_layers, *tensor.shape[::-1]), np.float32))
        stack[tensor.layer] = found[name].T
    return adapted, adapters


def _with_adapters(config: LlamaConfig, values: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> LlamaConfig:
    for key, expected in _FIXED.items():
        value = values.get(key)
        if value and value != expected:
            raise AgentBankError(f"{key} is {str(value)[:80]}; only {expected!r} is supported.")
    if (initialisation := values.get("init_lora_weights")) not in _INITIALISATIONS:
        raise AgentBankError(
            f"init_lora_weights is {str(initialisation)[:80]!r}, which changes the weights that the adapter belongs "
            "to; expected an adapter to the weights as they are: peft makes one with "
            "save_pretrained(FOLDER, path_initial_model_for_weight_conversion=…)."
        )
    # Which projections they are is read off the tensors: the configuration may name them in a dozen ways.
    names = [name for name in PROJECTIONS if any(f".{name}.lora_" in tensor for tensor in found)]
    try:
        lora = LoraConfig(
            projections="|".join(names),
            rank=values["r"],
            alpha=float(values["lora_alpha"]),
            rank_stabilised=bool(values.get("use_rslora")),
            dropout=float(values.get("lora_dropout") or 0.0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AgentBankError(f"{error!r}; expected numbers r and lora_alpha.") from None
    return replace(config, lora=lora)

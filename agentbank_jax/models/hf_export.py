"""A model written as a Hugging Face checkpoint: `config.json`, `generation_config.json`, safetensors shards."""

import json
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import CONFIG_FILE, GENERATION_FILE, config_json, generation_json
from agentbank_jax.models.hf_names import HfTensor, hf_tensors, leaf_at
from agentbank_jax.models.hf_shards import INDEX_FILE, SINGLE_FILE
from agentbank_jax.models.llama_config import LlamaConfig


def write_checkpoint(
    folder: Path,
    config: LlamaConfig,
    params: forward.Params,
    *,
    bos_id: int | None,
    stop_ids: Sequence[int],
    shard_bytes: int = 4_000_000_000,
) -> list[Path]:
    """Writes everything but the tokenizer into a folder that exists.

    Beside the parameters, one shard is in memory.

    Args:
      folder: where to write; see `whole_files.whole_folder`.
      config: the model; `param_dtype` must be that of the parameters.
      params: from `forward.init` or a checkpoint; written in their own type.
      bos_id: id of the token at the beginning of a text.
      stop_ids: ids of the tokens that were trained to end a turn.
      shard_bytes: bytes of tensors per file; a larger tensor has a file of its own.

    Returns:
      The files with weights.
    """
    write_json(folder / CONFIG_FILE, config_json(config, bos_id=bos_id, stop_ids=stop_ids))
    write_json(folder / GENERATION_FILE, generation_json(bos_id=bos_id, stop_ids=stop_ids))
    return write_shards(folder, config, lambda tensor: hf_array(params, tensor), shard_bytes)


def write_shards(
    folder: Path, config: LlamaConfig, make: Callable[[HfTensor], np.ndarray], shard_bytes: int
) -> list[Path]:
    """Writes the safetensors files of a model and, where there are several, their index.

    Args:
      folder: where to write.
      config: the model; `param_dtype` is the type of the tensors.
      make: gives each tensor, contiguous.
      shard_bytes: bytes of tensors per file; a larger tensor has a file of its own.

    Returns:
      The files.
    """
    shards = _divide(hf_tensors(config), np.dtype(config.param_dtype).itemsize, shard_bytes)
    count, names = len(shards), [SINGLE_FILE]
    if count > 1:
        names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
        weight_map = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = forward.count_parameters(config) * np.dtype(config.param_dtype).itemsize
        write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": weight_map})
    files = [folder / name for name in names]
    for file, shard in zip(files, shards, strict=True):
        write_tensors(file, {tensor.name: make(tensor) for tensor in shard})
    return files


def write_tensors(file: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes one safetensors file.

    Raises:
      OSError: where it cannot be written.
    """
    file.touch()
    mode = file.stat().st_mode
    # The metadata is what transformers looks for before it takes a file for PyTorch's layout.
    try:
        save_file(tensors, file, metadata={"format": "pt"})
    except SafetensorError as error:
        # A full disk is an error of its own kind there.
        if (code := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), os.fspath(file)) from None
    # safetensors lets nobody but the owner read what it writes.
    file.chmod(stat.S_IMODE(mode))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes one JSON file, for people too."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def hf_array(params: forward.Params, tensor: HfTensor) -> np.ndarray:
    """Returns a tensor of a checkpoint, contiguous, from the parameters."""
    leaf = leaf_at(params, tensor.path)
    array = np.asarray(leaf if tensor.layer is None else leaf[tensor.layer])
    return np.ascontiguousarray(array.T if tensor.transposed else array)


def _divide(tensors: list[HfTensor], itemsize: int, shard_bytes: int) -> list[list[HfTensor]]:
    """Tensors in their order, as many to a shard as fit."""
    shards: list[list[HfTensor]] = []
    room = 0
    for tensor in tensors:
        size = int(np.prod(tensor.shape)) * itemsize
        if not shards or size > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(tensor)
        room -= size
    return shards

"""Weights of a Hugging Face checkpoint, streamed into sharded arrays.

  checkpoint = open_checkpoint("weights/Llama-2-7b-hf", config)
  params = checkpoint.load(shardings, "bfloat16")

One tensor at a time is read, of it on each host the parts that its devices hold, and put into its place on the
devices: beside the result no more than one layer's tensor is ever in memory.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.hf_names import EMBEDDING, HEAD, HfTensor, hf_tensors, is_known_extra, leaf_at
from agentbank_jax.models.hf_shards import StoredTensor, open_shard, read_headers
from agentbank_jax.models.llama_config import LlamaConfig

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_LISTED = 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class HfCheckpoint:
    """A checkpoint whose tensors were found to be those of a model, before any was read.

    Fields:
      config: the model.
      tensors: where each tensor goes, and where it lies.
    """

    config: LlamaConfig
    tensors: tuple[tuple[HfTensor, StoredTensor], ...]

    @property
    def dtype(self) -> str:
        """The type in which most scalars are stored."""
        sizes: dict[str, int] = {}
        for _, stored in self.tensors:
            sizes[stored.dtype] = sizes.get(stored.dtype, 0) + int(np.prod(stored.shape))
        return _DTYPES[max(sizes, key=lambda name: sizes[name])]

    def load(self, shardings: Any, dtype: str, progress: Progress | None = None) -> forward.Params:
        """Reads the parameters.

        Args:
          shardings: a `NamedSharding` for each parameter (see `parallel.sharding.state_shardings`).
          dtype: of the parameters; they are converted on the devices.
          progress: called with the scalars read so far, and all.

        Returns:
          Parameters as `forward.init` makes them.
        """
        abstract = forward.abstract_params(self.config)
        params = jax.tree.map(lambda _: None, abstract)
        done, total = 0, sum(leaf.size for leaf in jax.tree.leaves(abstract))
        for tensor, stored in self.tensors:
            sharding, leaf = leaf_at(shardings, tensor.path), leaf_at(abstract, tensor.path)
            value = _read(tensor, stored, sharding)
            parent = leaf_at(params, tensor.path[:-1])
            if tensor.layer is None:
                array = _convert(sharding, dtype)(value)
            else:
                array = parent[tensor.path[-1]]
                if array is None:
                    array = jax.jit(partial(jnp.zeros, leaf.shape, dtype), out_shardings=sharding)()
                array = _place(sharding)(array, value, np.int32(tensor.layer))
            # The next tensor is not read before this one's memory is free again.
            parent[tensor.path[-1]] = jax.block_until_ready(array)
            done += int(np.prod(tensor.shape))
            if progress:
                progress(done, total)
        return params


def open_checkpoint(folder: str | os.PathLike[str], config: LlamaConfig) -> HfCheckpoint:
    """Finds a model's tensors in a checkpoint; reads headers alone.

    Raises:
      AgentBankError: files are missing or damaged, or any tensor is missing, left over, or of another shape or
        type than the model's; all of these are named.
    """
    folder = Path(folder)
    found = read_headers(folder)
    wanted = {tensor.name: tensor for tensor in hf_tensors(config)}
    problems = [f"{name}: missing" for name in wanted if name not in found]
    for name, stored in sorted(found.items()):
        if name not in wanted:
            if not is_known_extra(name, config):
                problems.append(f"{name}: no parameter of the model")
        elif stored.shape != wanted[name].shape:
            problems.append(f"{name}: shape {list(stored.shape)}, expected {list(wanted[name].shape)}")
        elif stored.dtype not in _DTYPES:
            problems.append(f"{name}: type {stored.dtype}, expected {', '.join(_DTYPES)}")
    if problems:
        raise AgentBankError(_listing(folder, problems))
    if config.tie_word_embeddings and HEAD in found:
        _check_tied(found[EMBEDDING], found[HEAD])
    return HfCheckpoint(config=config, tensors=tuple((tensor, found[name]) for name, tensor in wanted.items()))


def _listing(folder: Path, problems: list[str]) -> str:
    lines = [f"  {line}" for line in problems[:_LISTED]]
    if len(problems) > _LISTED:
        lines.append(f"  … and {len(problems) - _LISTED} more")
    what = "1 tensor does" if len(problems) == 1 else f"{len(problems)} tensors do"
    return f"{folder}: {what} not fit the model of its config.json:\n" + "\n".join(lines)


def _check_tied(embedding: StoredTensor, head: StoredTensor) -> None:
    with open_shard(embedding.file) as first, open_shard(head.file) as second:
        rows, other_rows = first.get_slice(EMBEDDING), second.get_slice(HEAD)
        size, step = embedding.shape[0], 4096
        same = embedding.shape == head.shape and all(
            np.array_equal(rows[start : min(start + step, size)], other_rows[start : min(start + step, size)])
            for start in range(0, size, step)
        )
    if not same:
        raise AgentBankError(
            f"{head.file}: {HEAD} differs from {EMBEDDING}, but config.json has tie_word_embeddings = true; "
            "expected the same values, or tie_word_embeddings = false."
        )


def _read(tensor: HfTensor, stored: StoredTensor, sharding: NamedSharding) -> Array:
    """The tensor in its parameter's layout and as it is stored, laid over the devices as the parameter will be."""
    stacked = tensor.layer is not None
    place = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[stacked:]))
    shape = tensor.shape[::-1] if tensor.transposed else tensor.shape
    with open_shard(stored.file) as opened:
        rows = opened.get_slice(tensor.name)

        def part(index: Any) -> np.ndarray:
            # A view: the transpose is made on the way to the device, several times faster than by numpy or after it.
            return rows[index[::-1]].T if tensor.transposed else rows[index]

        return jax.make_array_from_callback(shape, place, part)


@lru_cache(maxsize=64)
def _convert(sharding: NamedSharding, dtype: str) -> Callable[[Array], Array]:
    return jax.jit(lambda value: value.astype(dtype), out_shardings=sharding)


@lru_cache(maxsize=64)
def _place(sharding: NamedSharding) -> Callable[[Array, Array, np.int32], Array]:
    def place(stack: Array, value: Array, layer: np.int32) -> Array:
        return jax.lax.dynamic_update_index_in_dim(stack, value.astype(stack.dtype), layer, 0)

    return jax.jit(place, out_shardings=sharding, donate_argnums=0)

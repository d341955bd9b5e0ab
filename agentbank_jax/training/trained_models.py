"""Trained models without their optimizer: saved as a run that trained nothing, and loaded to act, adapters merged."""

import logging
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.models import forward, lora
from agentbank_jax.models.fingerprint import fingerprint
from agentbank_jax.models.hf_config import CONFIG_FILE
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, ShardingRules
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import check_model_divisible, state_shardings, with_shardings
from agentbank_jax.training.best_checkpoint import resolve_checkpoint
from agentbank_jax.training.checkpoint_files import (
    FOLDER,
    check_arrays,
    is_complete,
    load_arrays,
    orbax_v1,
    read_metadata,
    reason_of,
    saved_model_config,
    step_folders,
)
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.state import TrainState

_CHUNK_BYTES = 1 << 26

logger = logging.getLogger(__name__)


class UnreadableCheckpointError(AgentBankError):
    """A checkpoint that is not there, or that cannot be read."""


def save_parameters(
    model_dir: str | os.PathLike, config: LlamaConfig, params: forward.Params, facts: dict[str, Any]
) -> None:
    """Saves parameters that were not trained here as step 0 of a run, without a copy of them all.

    Args:
      model_dir: folder of the run.
      config: the model.
      params: its parameters (see `models.forward`).
      facts: as in `Checkpoints`.

    Raises:
      AgentBankError: the checkpoint cannot be written.
    """
    v1 = orbax_v1()
    # Nothing changes the arrays while they are written, so that they need not be copied first. One of the largest at a
    # time is under way (Orbax wants its limits above an array's size).
    limit = max(leaf.nbytes for leaf in jax.tree.leaves(params)) + 1
    memory = v1.options.MemoryOptions(
        deepcopy_host_arrays=False, write_concurrent_bytes=limit, transfer_concurrent_bytes=limit
    )
    # Each chunk is a file that is written as soon as it is encoded: an OCDBT store holds back GBs. As one chunk, as it
    # would be, an array would also be decoded whole by each device that reads a part of it.
    arrays = v1.options.ArrayOptions(
        saving=v1.options.ArrayOptions.Saving(
            use_ocdbt=False,
            storage_options=v1.options.ArrayOptions.Saving.StorageOptions(chunk_byte_size=_CHUNK_BYTES),
        )
    )
    with (
        v1.Context(memory_options=memory, array_options=arrays),
        Checkpoints(model_dir, keep=1, config=config, facts=facts) as checkpoints,
    ):
        checkpoints.save(TrainState(jnp.int32(0), params, ()), 0, "")


def load_for_inference(
    checkpoint: str | os.PathLike,
    *,
    dtype: str | None = None,
    mesh: Mesh | None = None,
    rules: ShardingRules = DEFAULT_RULES,
) -> tuple[LlamaConfig, forward.Params, dict[str, Any]]:
    """Loads the parameters of a trained model; neither optimizer nor data state is read.

    Adapters are merged into the weights they belong to (see `models.lora`).

    Args:
      checkpoint: a run's folder, its `checkpoints` folder, or the folder of one step. Of several steps
        the latest that can be read is taken; `RUN@best` is the best (see `training.best_checkpoint`).
      dtype: of the parameters; None leaves them as they were saved.
      mesh: devices to lay the parameters over; the first device if None.
      rules: how they lie there.

    Returns:
      The model's configuration, its parameters (see `models.forward`), and the checkpoint's metadata:
      `step`, `path` (of the step), `model_dir`, `facts` (template, tokenizer hash, stop ids, …), and `base`, the folder
      of the weights that were adapted.

    Raises:
      AgentBankError: nothing is there, or nothing that can be read, or the weights that were adapted are gone or
        others.
    """
    mesh = mesh or _first_device()
    config, params, metadata = _load_trained(checkpoint, dtype, mesh, rules)
    if config.lora:
        base = _load_base(config, metadata, mesh, rules)
        params = jax.tree.map(
            lambda leaf: leaf.astype(dtype or leaf.dtype), lora.merge(config.lora, base, params, consume=True)
        )
    return config.base, params, metadata


def load_adapters(checkpoint: str | os.PathLike) -> tuple[LlamaConfig, forward.Params, dict[str, Any]]:
    """Loads the adapters that a run has trained, and not the weights that they belong to.

    Returns:
      As `load_for_inference`, but the configuration has its `lora`, and the parameters are the adapters alone.

    Raises:
      AgentBankError: nothing is there, or nothing that can be read, or the run has no adapters.
    """
    config, adapters, metadata = _load_trained(checkpoint, None, _first_device(), DEFAULT_RULES)
    if not config.lora:
        raise AgentBankError(f"{metadata['path']}: all of its parameters were trained; expected a run with LoraConfig.")
    return config, adapters, metadata


def _first_device() -> Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def _load_trained(
    checkpoint: str | os.PathLike, dtype: str | None, mesh: Mesh, rules: ShardingRules
) -> tuple[LlamaConfig, forward.Params, dict[str, Any]]:
    """What was trained of a model: its parameters as `dtype`, or its adapters as they were saved."""
    v1 = orbax_v1()
    paths = _find_steps(checkpoint)
    for path in paths:
        try:
            metadata = read_metadata(path)
            config = saved_model_config(metadata)
            check_model_divisible(config, dict(mesh.shape), rules)
            abstract = _abstract_trained(config, dtype, mesh, rules)
            with v1.Context(
                pytree_options=v1.options.PyTreeOptions(loading=v1.options.PyTreeOptions.Loading(partial_load=True))
            ):
                params = load_arrays(v1, path, {"state": {"params": abstract}})["state"]["params"]
            # Of another type than they were saved as, they have other bits.
            if dtype in (None, config.param_dtype):
                check_arrays(metadata, params=params)
        except AgentBankError:
            raise
        except Exception as error:  # Orbax raises many kinds, for what is all one here: it cannot be read.
            logger.warning("Passed over the checkpoint %s, which cannot be read: %s", path, reason_of(error))
            continue
        return config, params, {**metadata, "step": int(path.name), "path": path, "model_dir": path.parent.parent}
    raise UnreadableCheckpointError(
        f"No checkpoint under {checkpoint} can be read (tried: {', '.join(map(str, paths))})."
    )


def _abstract_trained(config: LlamaConfig, dtype: str | None, mesh: Mesh, rules: ShardingRules) -> forward.Params:
    abstract = forward.abstract_params(config)
    if config.lora:
        abstract, dtype = lora.split(abstract)[0], None
    return with_shardings(abstract, state_shardings(mesh, abstract, rules), dtype)


def _load_base(config: LlamaConfig, metadata: dict[str, Any], mesh: Mesh, rules: ShardingRules) -> forward.Params:
    """The weights that adapters belong to, as they were when the adapters were trained."""
    folder, run = Path(metadata["base"]), metadata["model_dir"]
    if not folder.is_dir():
        raise AgentBankError(f"{run}: its adapters belong to the weights in {folder}, which is gone; put it back.")
    if (folder / CONFIG_FILE).is_file():
        shardings = state_shardings(mesh, forward.abstract_params(config.base), rules)
        base = open_checkpoint(folder, config.base).load(shardings, config.param_dtype)
    else:
        base = load_for_inference(folder, dtype=config.param_dtype, mesh=mesh, rules=rules)[1]
    found, expected = fingerprint(base), metadata["facts"]["base_fingerprint"]
    if found != expected:
        raise AgentBankError(
            f"{run}: its adapters belong to weights of fingerprint {expected[:24]}…, and those in {folder} have "
            f"{found[:24]}…; put the former back."
        )
    return base


def _find_steps(checkpoint: str | os.PathLike) -> list[Path]:
    path = resolve_checkpoint(checkpoint).absolute()
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        raise UnreadableCheckpointError(
            f"The checkpoint {path} does not exist." + did_you_mean(path.name, siblings) + " Expected the folder of "
            "a run (--model_dir of the training), its folder 'checkpoints', or a step in it."
        )
    if path.name.isdigit() and is_complete(path):
        return [path]
    found = step_folders(path / FOLDER) or step_folders(path)
    if not found and (path / "config.json").is_file():
        raise AgentBankError(
            f"{path} holds a Hugging Face checkpoint: train from it with --gin.RunConfig.weights={path}, or make it "
            f"one of this project: python scripts/import_hf.py --weights={path}."
        )
    if not found:
        raise UnreadableCheckpointError(
            f"There is no checkpoint in {path}: expected the folder of a run that has saved at least once "
            f"({FOLDER}/<step>), that folder {FOLDER!r}, or a step in it."
        )
    return found

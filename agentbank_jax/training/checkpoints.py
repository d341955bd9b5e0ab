"""Checkpoints of a run: asynchronous, checked when restored, damaged ones passed over.

All that the project knows of Orbax is in this module.

  model_dir/checkpoints/<step>/   state (step, params, opt_state), data (step, fingerprint), metadata

Those of a run that trains adapters hold the adapters alone; the metadata name the weights they belong to.
"""

import logging
import os
import shutil
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from agentbank_jax.errors import AgentBankError, did_you_mean, first_line
from agentbank_jax.models import forward, lora
from agentbank_jax.models.hf_config import CONFIG_FILE
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, ShardingRules
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import path_name, state_shardings, with_shardings
from agentbank_jax.training.state import TrainState

FOLDER = "checkpoints"
FORMAT = 1
_CHUNK_BYTES = 1 << 26

logger = logging.getLogger(__name__)


def _orbax():
    # Imported where used: it takes a second, and many callers of this package never touch a checkpoint.
    from orbax.checkpoint import v1

    logging.getLogger("absl").setLevel(logging.ERROR)
    return v1


@dataclass(frozen=True)
class Restored:
    """A restored run.

    Fields:
      state: the whole training state, on the devices.
      data: `step` and `fingerprint` of the position in the data.
      metadata: what was saved with it.
    """

    state: TrainState
    data: dict[str, Any]
    metadata: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run; a context manager, which waits for the last save when it ends."""

    def __init__(
        self,
        model_dir: str | os.PathLike,
        *,
        keep: int,
        config: LlamaConfig,
        facts: dict[str, Any],
        base: str | None = None,
    ):
        """Opens or makes `model_dir`/checkpoints.

        Args:
          model_dir: folder of the run.
          keep: how many of the latest checkpoints to keep.
          config: the model; saved, and its shape is checked when restored.
          facts: what else must be equal when the run goes on (JSON values), such as template and tokenizer hash.
          base: folder of the weights that the saved adapters belong to; their `base_fingerprint` is among the facts.
        """
        self._v1 = v1 = _orbax()
        self.directory = Path(model_dir).absolute() / FOLDER
        if set("[]") & set(str(self.directory)):
            # Orbax takes them for a pattern when it joins the arrays of a checkpoint, and then finds none.
            raise AgentBankError(
                f"{self.directory}: checkpoints in a path with '[' or ']' cannot be read again; "
                "choose another --model_dir."
            )
        self.facts = facts
        self.metadata = {"format": FORMAT, "model_config": asdict(config), "facts": facts, "base": base}
        self._shape_facts = config.shape_facts
        _set_aside_damaged(self.directory)
        self._checkpointer = v1.training.Checkpointer(
            self.directory,
            preservation_policy=v1.training.preservation_policies.LatestN(keep),
            save_decision_policy=v1.training.save_decision_policies.FixedIntervalPolicy(1),
            cleanup_tmp_directories=True,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            self._checkpointer.close()
        except Exception as error:  # Orbax raises many kinds, for what is all one here: it cannot be written.
            if kind is None:
                raise self._unwritten(error) from None

    def _unwritten(self, error: Exception) -> AgentBankError:
        return AgentBankError(
            f"A checkpoint in {self.directory} cannot be written ({_reason(error)}): make room or mend the folder; "
            "the same command goes on from the last whole checkpoint."
        )

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return [checkpoint.step for checkpoint in self._checkpointer.checkpoints]

    def save(self, state: TrainState, step: int, fingerprint: str) -> None:
        """Saves in the background; waits only for an earlier save, and until the arrays are copied."""
        checkpointables = {"state": state, "data": {"step": step, "fingerprint": fingerprint}}
        metadata = {**self.metadata, "arrays": _array_names(state)}
        try:
            self._checkpointer.save_checkpointables_async(
                step, checkpointables, custom_metadata=metadata, overwrite=True, force=True
            )
        except Exception as error:  # as above; an earlier save's error is raised here too
            raise self._unwritten(error) from None

    def restore(self, abstract: TrainState, allow_change: tuple[str, ...] = ()) -> Restored | None:
        """The latest checkpoint that can be read, or None if there is none.

        Args:
          abstract: shapes, dtypes and shardings of the state.
          allow_change: names of facts that may differ.

        Raises:
          AgentBankError: the checkpoint is of another run (another template, tokenizer, model, …).
        """
        for checkpoint in reversed(self._checkpointer.checkpoints):
            path = self.directory / str(checkpoint.step)
            metadata = read_metadata(path)
            self._check(path, metadata, allow_change)
            if different := set(metadata["arrays"]) ^ set(_array_names(abstract)):
                raise AgentBankError(
                    f"The optimizer of the run in {path} keeps other values than the one configured now "
                    f"({', '.join(sorted(different)[:4])}): go on with the optimizer it was started with, "
                    "or choose another --model_dir."
                )
            try:
                loaded = _load(self._v1, path, {"state": abstract, "data": None})
            except Exception as error:  # Orbax raises many kinds, for what is all one here: it cannot be read.
                _set_aside(path, _reason(error))
                continue
            self._checkpointer.reload()
            return Restored(loaded["state"], loaded["data"], metadata)
        self._checkpointer.reload()
        return None

    def _check(self, path: Path, metadata: dict[str, Any], allow_change: tuple[str, ...]) -> None:
        saved_config = _model_config(metadata)
        saved = {**metadata["facts"], **{f"model.{k}": v for k, v in saved_config.shape_facts.items()}}
        wanted = {**self.facts, **{f"model.{k}": v for k, v in self._shape_facts.items()}}
        different = [
            f"  {name}: {saved.get(name)!r} in the checkpoint, {wanted.get(name)!r} now"
            for name in sorted(saved.keys() | wanted.keys())
            if saved.get(name) != wanted.get(name) and name not in allow_change
        ]
        if different:
            raise AgentBankError(
                f"The run in {path.parent.parent} was started with other settings:\n" + "\n".join(different) + "\n"
                "Go on with the settings it was started with, or choose another --model_dir."
            )


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
    v1 = _orbax()
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
        the latest that can be read is taken.
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
    v1 = _orbax()
    paths = _find_steps(Path(checkpoint))
    for path in paths:
        try:
            metadata = read_metadata(path)
            config = _model_config(metadata)
            abstract = _abstract_trained(config, dtype, mesh, rules)
            with v1.Context(
                pytree_options=v1.options.PyTreeOptions(loading=v1.options.PyTreeOptions.Loading(partial_load=True))
            ):
                params = _load(v1, path, {"state": {"params": abstract}})["state"]["params"]
        except AgentBankError:
            raise
        except Exception as error:  # Orbax raises many kinds, for what is all one here: it cannot be read.
            logger.warning("Passed over the checkpoint %s, which cannot be read: %s", path, _reason(error))
            continue
        return config, params, {**metadata, "step": int(path.name), "path": path, "model_dir": path.parent.parent}
    raise AgentBankError(f"No checkpoint under {checkpoint} can be read (tried: {', '.join(map(str, paths))}).")


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
    found, expected = lora.fingerprint(base), metadata["facts"]["base_fingerprint"]
    if found != expected:
        raise AgentBankError(
            f"{run}: its adapters belong to weights of fingerprint {expected[:24]}…, and those in {folder} have "
            f"{found[:24]}…; put the former back."
        )
    return base


def read_metadata(path: Path) -> dict[str, Any]:
    """What `Checkpoints` saved beside the arrays of one step."""
    return _orbax().checkpointables_metadata(path).custom_metadata


def _model_config(metadata: dict[str, Any]) -> LlamaConfig:
    known = {field.name for field in fields(LlamaConfig)}
    saved = metadata["model_config"]
    if unknown := sorted(saved.keys() - known):
        raise AgentBankError(
            f"The checkpoint's model has {', '.join(unknown)}, which this version does not know: "
            "it was written by a newer version of agentbank_jax."
        )
    return LlamaConfig(**{**saved, "lora": LoraConfig(**saved["lora"]) if saved.get("lora") else None})


def _load(v1, path: Path, abstract: dict[str, Any]) -> dict[str, Any]:
    # When an array cannot be read, each of the others would be reported with a traceback.
    quiet = logging.getLogger("asyncio")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sharding info not provided")
            return v1.load_checkpointables(path, abstract)
    finally:
        quiet.setLevel(level)


def _array_names(tree: Any) -> list[str]:
    return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _is_complete(path: Path) -> bool:
    try:
        return bool(read_metadata(path))
    except Exception:  # Orbax raises many kinds, for what is all one here: it is not complete.
        return False


def _step_folders(directory: Path) -> list[Path]:
    """Folders named by a step, latest first."""
    if not directory.is_dir():
        return []
    return sorted((p for p in directory.iterdir() if p.name.isdigit()), key=lambda p: int(p.name), reverse=True)


def _set_aside_damaged(directory: Path) -> None:
    for path in _step_folders(directory):
        if not _is_complete(path):
            _set_aside(path, "it is half-written, or its metadata cannot be read")


def _set_aside(path: Path, reason: str) -> None:
    """Renames a damaged checkpoint, so that the run can take that step's place again."""
    aside = path.with_name(path.name + ".damaged")
    logger.warning("Passed over the damaged checkpoint %s, now %s: %s", path, aside.name, reason)
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def _reason(error: Exception) -> str:
    """What the error says that is at the root of one of Orbax's."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return first_line(error)[:200]


def _find_steps(path: Path) -> list[Path]:
    path = path.expanduser().absolute()
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        raise AgentBankError(
            f"The checkpoint {path} does not exist." + did_you_mean(path.name, siblings) + " Expected the folder of "
            "a run (--model_dir of the training), its folder 'checkpoints', or a step in it."
        )
    if path.name.isdigit() and _is_complete(path):
        return [path]
    found = _step_folders(path / FOLDER) or _step_folders(path)
    if not found and (path / "config.json").is_file():
        raise AgentBankError(
            f"{path} holds a Hugging Face checkpoint: train from it with --gin.RunConfig.weights={path}, or make it "
            f"one of this project: python scripts/import_hf.py --weights={path}."
        )
    if not found:
        raise AgentBankError(
            f"There is no checkpoint in {path}: expected the folder of a run that has saved at least once "
            f"({FOLDER}/<step>), that folder {FOLDER!r}, or a step in it."
        )
    return found

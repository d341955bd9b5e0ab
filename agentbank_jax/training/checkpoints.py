"""Checkpoints of a run: asynchronous, checked when restored, damaged ones passed over.

Those of a run that trains adapters hold the adapters alone; the metadata name the weights they belong to.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.training.checkpoint_files import (
    FOLDER,
    FORMAT,
    array_names,
    load_arrays,
    orbax_v1,
    read_metadata,
    reason_of,
    saved_model_config,
    set_aside,
    set_aside_damaged,
)
from agentbank_jax.training.state import TrainState


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
        self._v1 = v1 = orbax_v1()
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
        set_aside_damaged(self.directory)
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
            f"A checkpoint in {self.directory} cannot be written ({reason_of(error)}): make room or mend the folder; "
            "the same command goes on from the last whole checkpoint."
        )

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return [checkpoint.step for checkpoint in self._checkpointer.checkpoints]

    def save(self, state: TrainState, step: int, fingerprint: str) -> None:
        """Saves in the background; waits only for an earlier save, and until the arrays are copied."""
        checkpointables = {"state": state, "data": {"step": step, "fingerprint": fingerprint}}
        metadata = {**self.metadata, "arrays": array_names(state)}
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
            if different := set(metadata["arrays"]) ^ set(array_names(abstract)):
                raise AgentBankError(
                    f"The optimizer of the run in {path} keeps other values than the one configured now "
                    f"({', '.join(sorted(different)[:4])}): go on with the optimizer it was started with, "
                    "or choose another --model_dir."
                )
            try:
                loaded = load_arrays(self._v1, path, {"state": abstract, "data": None})
            except Exception as error:  # Orbax raises many kinds, for what is all one here: it cannot be read.
                set_aside(path, reason_of(error))
                continue
            self._checkpointer.reload()
            return Restored(loaded["state"], loaded["data"], metadata)
        self._checkpointer.reload()
        return None

    def _check(self, path: Path, metadata: dict[str, Any], allow_change: tuple[str, ...]) -> None:
        saved_config = saved_model_config(metadata)
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

"""Checkpoints of a run: asynchronous, checked when restored, damaged ones passed over.

Those of a run that trains adapters hold the adapters alone; the metadata name the weights they belong to.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel.distributed import is_of_a_lost_process
from agentbank_jax.training.checkpoint_files import (
    FOLDER,
    FORMAT,
    DamageError,
    array_differences,
    array_names,
    check_arrays,
    is_of_the_reader,
    load_arrays,
    orbax_v1,
    read_metadata,
    reason_of,
    saved_model_config,
    sealed_metadata,
    set_aside,
    set_aside_damaged,
)
from agentbank_jax.training.run_files import GO_ON
from agentbank_jax.training.state import TrainState
from agentbank_jax.whole_files import unwritten


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
        keep_every: int = 0,
        best_metric: str = "",
        best_mode: str = "min",
        total_steps: int | None = None,
    ):
        """Opens or makes `model_dir`/checkpoints.

        Args:
          model_dir: folder of the run.
          keep: how many of the latest checkpoints to keep.
          config: the model; saved, and its shape is checked when restored.
          facts: what else must be equal when the run goes on (JSON values), such as template and tokenizer hash.
          base: folder of the weights that the saved adapters belong to; their `base_fingerprint` is among the facts.
          keep_every: keeps the steps that this divides, too; 0 none.
          best_metric, best_mode: keeps the best by this metric of those that were saved with it, too; "" none.
          total_steps: with how many the run ends.
        """
        self._v1 = v1 = orbax_v1()
        self.directory = Path(model_dir).absolute() / FOLDER
        if set("[]") & set(str(self.directory)):
            # Orbax takes them for a pattern when it joins the arrays of a checkpoint, and then finds none.
            raise AgentBankError(
                f"{self.directory}: checkpoints in a path with '[' or ']' cannot be read again; "
                "choose another --model_dir."
            )
        self.facts, self._best_metric = facts, best_metric
        self.metadata = {"format": FORMAT, "model_config": asdict(config), "facts": facts, "base": base}
        self.metadata |= {"total_steps": total_steps, "best_metric": best_metric, "best_mode": best_mode}
        self._shape_facts = config.shape_facts
        if jax.process_index() == 0:
            set_aside_damaged(self.directory)
        _wait_for_all("checkpoints_looked_at")
        policies = v1.training.preservation_policies
        kept: list[Any] = [policies.LatestN(keep)]
        if keep_every:
            kept.append(policies.EveryNSteps(keep_every))
        if best_metric:
            kept.append(
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics[best_metric],
                    reverse=best_mode == "min",
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._checkpointer = v1.training.Checkpointer(
            self.directory,
            preservation_policy=policies.AnyPreservationPolicy(kept),
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

    def _unwritten(self, error: Exception) -> Exception:
        if is_of_a_lost_process(error):
            return error
        return unwritten(f"A checkpoint in {self.directory}", reason_of(error), GO_ON)

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return [checkpoint.step for checkpoint in self._checkpointer.checkpoints]

    def save(
        self,
        state: TrainState,
        step: int,
        fingerprint: str,
        *,
        position: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Saves in the background; waits only for an earlier save, and until the arrays are copied.

        Args:
          state: what the devices hold after `step` steps.
          step: names the checkpoint.
          fingerprint: of the data.
          position: what else a run that goes on must know, as JSON values.
          metrics: of an evaluation of this state.
        """
        data = {"step": step, "fingerprint": fingerprint, **(position or {})}
        checkpointables = {"state": state, "data": data}
        values = dict(metrics or {})
        # Without what the best is chosen by, or where that is no number, a checkpoint has no rank.
        ranked = bool(values) and (not self._best_metric or math.isfinite(values.get(self._best_metric, math.nan)))
        metadata = sealed_metadata(
            {**self.metadata, "arrays": array_names(state), "metrics": values},
            data,
            params=state.params,
            opt_state=state.opt_state,
        )
        try:
            self._checkpointer.save_checkpointables_async(
                step,
                checkpointables,
                custom_metadata=metadata,
                metrics=values if ranked else None,
                overwrite=True,
                force=True,
            )
        except Exception as error:  # as above; an earlier save's error is raised here too
            raise self._unwritten(error) from None

    def wait(self) -> None:
        """Waits until the last save is whole.

        Raises:
          AgentBankError: it cannot be written.
        """
        try:
            self._checkpointer.wait()
        except Exception as error:  # as above
            raise self._unwritten(error) from None

    def restore(
        self, abstract: TrainState, allow_change: tuple[str, ...] = (), changed: Sequence[str] = ()
    ) -> Restored | None:
        """The latest checkpoint that can be read, or None if there is none.

        Args:
          abstract: shapes, dtypes and shardings of the state.
          allow_change: names of facts that may differ.
          changed: settings that differ, as lines, to be told where the run may not go on.

        Raises:
          AgentBankError: the checkpoint is of another run (another template, tokenizer, model, …), or all there were
            are damaged.
        """
        for checkpoint in reversed(self._checkpointer.checkpoints):
            path = self.directory / str(checkpoint.step)
            metadata = read_metadata(path)
            self._check(path, metadata, allow_change, changed)
            if different := set(metadata["arrays"]) ^ set(array_names(abstract)):
                raise AgentBankError(
                    f"The optimizer of the run in {path} keeps other values than the one configured now "
                    f"({', '.join(sorted(different)[:4])}): go on with the optimizer it was started with, "
                    "or choose another --model_dir."
                )
            # Orbax would read them as they are wanted, or not at all, and either would be taken for damage.
            if lines := array_differences(path, abstract):
                raise AgentBankError(
                    f"The run in {path.parent.parent} keeps arrays of other types or shapes than are configured now:\n"
                    + "\n".join(lines[:4])
                    + (f"\n  and {len(lines) - 4} more" if len(lines) > 4 else "")
                    + "\nGo on with the settings it was started with (LlamaConfig.param_dtype, "
                    "OptimizerConfig.mu_dtype, the model's shape), or choose another --model_dir; --checkpoint="
                    f"{path.parent.parent} starts from its weights there."
                )
            loaded, reason = None, "another process cannot read it"
            try:
                loaded = load_arrays(self._v1, path, {"state": abstract, "data": None})
                check_arrays(metadata, params=loaded["state"].params, opt_state=loaded["state"].opt_state)
                if loaded["data"] != metadata["data"]:
                    raise DamageError("its position in the data has changed")
            except Exception as error:  # Orbax raises many kinds, for what is all one here: it cannot be read.
                reason = reason_of(error)
                if is_of_the_reader(error):
                    raise AgentBankError(
                        f"The checkpoint {path} cannot be loaded ({reason}): free what is short, or mend who may read "
                        "it, and give the same command again; it is left as it is."
                    ) from None
                loaded = None
            if not _all_true(loaded is not None):
                if jax.process_index() == 0:
                    set_aside(path, reason)
                _wait_for_all("checkpoint_set_aside")
                continue
            assert loaded is not None
            self._checkpointer.reload()
            return Restored(loaded["state"], loaded["data"], metadata)
        self._checkpointer.reload()
        # Without any that can be read the run would begin anew, over what it has recorded.
        if damaged := sorted(path.name for path in self.directory.glob("*.damaged")):
            raise AgentBankError(
                f"None of the checkpoints in {self.directory} can be read: {', '.join(damaged)}. Put one of them back "
                "from a copy, choose another --model_dir, or remove them to begin anew."
            )
        return None

    def _check(
        self, path: Path, metadata: dict[str, Any], allow_change: tuple[str, ...], changed: Sequence[str]
    ) -> None:
        saved_config = saved_model_config(metadata)
        saved = {**metadata["facts"], **{f"model.{k}": v for k, v in saved_config.shape_facts.items()}}
        wanted = {**self.facts, **{f"model.{k}": v for k, v in self._shape_facts.items()}}
        different = [
            f"  {name}: {saved.get(name)!r} in the checkpoint, {wanted.get(name)!r} now"
            for name in sorted(saved.keys() | wanted.keys())
            if saved.get(name) != wanted.get(name) and name not in allow_change
        ]
        if different:
            if changed:
                different += ["Set since then:", *(f"  {line}" for line in changed)]
            elif any("data_fingerprint" in line for line in different):
                different.append("No setting differs: the bank, its tokenizer or how rows are packed does.")
            raise AgentBankError(
                f"The run in {path.parent.parent} was started with other settings:\n" + "\n".join(different) + "\n"
                "Go on with the settings it was started with, choose another --model_dir, or name what may differ with "
                "--allow_change."
            )


def _wait_for_all(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def _all_true(here: bool) -> bool:
    """Whether it is true on every process."""
    return here if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(here)).all())

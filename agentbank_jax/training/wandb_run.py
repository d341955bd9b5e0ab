"""The metrics of a run in Weights & Biases, for who asks for it."""

import importlib.util
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.whole_files import whole_file

ID_FILE = "wandb_run_id"


def check_wandb(project: str) -> None:
    """Nothing where no project is asked for, or where the client is installed.

    Raises:
      AgentBankError: it is not.
    """
    if project and importlib.util.find_spec("wandb") is None:
        raise AgentBankError(
            f"TrainConfig.wandb_project={project!r}: Weights & Biases is not installed; install it with "
            "pip install 'agentbank_jax[wandb]', or leave the project empty."
        )


class WandbRun:
    """One run of Weights & Biases for all starts of a run of ours: its id is kept in the run's folder."""

    def __init__(self, model_dir: Path, project: str, settings: Mapping[str, Any]):
        """Begins the run, or goes on with it; `WANDB_MODE`, `WANDB_ENTITY` and the like hold.

        Raises:
          AgentBankError: it is not installed, or it refuses, as without a key.
        """
        check_wandb(project)
        import wandb

        try:
            # Orderly names for its own files; it would put them in the current folder.
            self._run = wandb.init(
                project=project,
                id=_run_id(model_dir),
                resume="allow",
                name=os.environ.get("WANDB_NAME") or model_dir.name,
                dir=str(model_dir),
                config=dict(settings),
            )
            # Not its own step, which may not go back: after a rollback, or a kill, steps are done again.
            self._run.define_metric("step")
            self._run.define_metric("*", step_metric="step")
        except Exception as error:  # its kinds are many, and differ by version; each says what is wrong
            raise AgentBankError(
                f"TrainConfig.wandb_project={project!r}: Weights & Biases refuses the run ({first_line(error)}): log "
                "in with `wandb login`, write to the disk alone with WANDB_MODE=offline, or leave the project empty."
            ) from None
        self._works = True

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Logs values of a step; the first failure is told, and ends the telling, not the training."""
        if not self._works:
            return
        try:
            self._run.log({"step": step, **values})
        except Exception as error:  # as above
            self._works = False
            print(f"Weights & Biases fails, and gets nothing more: {first_line(error)}", file=sys.stderr)

    def finish(self, *, failed: bool, preempted: bool = False) -> None:
        """Ends this start's part, and says whether it failed, or will go on after it was pre-empted."""
        try:
            if preempted:
                self._run.mark_preempting()
            self._run.finish(exit_code=int(failed))
        except Exception as error:  # as above
            print(f"Weights & Biases fails at its end: {first_line(error)}", file=sys.stderr)


def _run_id(model_dir: Path) -> str:
    file = model_dir / ID_FILE
    if file.is_file() and (kept := file.read_text(encoding="utf-8").strip()):
        return kept
    made = secrets.token_hex(4)
    with whole_file(file) as path:
        path.write_text(made + "\n", encoding="utf-8")
    return made

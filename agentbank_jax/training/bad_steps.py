"""Steps whose loss or gradient is not finite, and losses that leap: what the loop watches for."""

import statistics
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from agentbank_jax.errors import AgentBankError
from agentbank_jax.training.train_config import TrainConfig
from agentbank_jax.whole_files import whole_file

FOLDER = "bad_batches"


class BadSteps:
    """Counts bad steps, and finds spikes; every process of a run sees the same.

    A step is bad where its loss or its gradient is not finite: the compiled step leaves the state as it was. A loss
    spikes where it is more than `spike_factor` times the median of the last `SPIKE_WINDOW` good steps' losses.
    """

    def __init__(self, config: TrainConfig, model_dir: Path, kept: Mapping | None = None):
        """Goes on from what `to_json` gave; from nothing where it is None."""
        kept = kept or {}
        self._config, self._folder = config, model_dir / FOLDER
        self._in_a_row: int = kept.get("bad_in_a_row", 0)
        self.bad_steps: int = kept.get("bad_steps", 0)
        self._losses = deque(kept.get("recent_losses", ()), maxlen=SPIKE_WINDOW)

    def to_json(self) -> dict:
        """What a checkpoint keeps, so that a run that goes on judges as one that was not interrupted."""
        kept = {"bad_in_a_row": self._in_a_row, "bad_steps": self.bad_steps}
        return kept | ({"recent_losses": list(self._losses)} if self._config.spike_factor else {})

    def judge(
        self, step: int, metrics: Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray], process: int
    ) -> bool:
        """Whether the loss of a step spikes.

        Args:
          step: whose metrics they are.
          metrics: of the step, from the compiled step.
          batch: this process's rows of its batch, kept for study where it is the last of too many bad ones.
          process: number of this process.

        Raises:
          AgentBankError: so many steps in a row were bad that the run has to end; names the file of the batch.
        """
        if metrics["bad"]:
            self.bad_steps += 1
            self._in_a_row += 1
            if self._in_a_row >= self._config.max_bad_steps:
                self._end(step, batch, process)
            return False
        self._in_a_row = 0
        if not self._config.spike_factor:
            return False
        loss = float(metrics["loss"])
        full = len(self._losses) == SPIKE_WINDOW
        if full and loss > self._config.spike_factor * statistics.median(self._losses):
            return True
        self._losses.append(loss)
        return False

    def _end(self, step: int, batch: Mapping[str, np.ndarray], process: int) -> None:
        self._folder.mkdir(exist_ok=True)
        file = self._folder / (f"step_{step}.npz" if not process else f"step_{step}_process_{process}.npz")
        with whole_file(file) as path, path.open("wb") as out:
            np.savez_compressed(out, **dict(batch))  # type: ignore[arg-type]
        raise AgentBankError(
            f"The loss or the gradient of {self._in_a_row} steps in a row was not finite, the last of them step {step} "
            f"(TrainConfig.max_bad_steps={self._config.max_bad_steps}). Its batch is in {file}. The last checkpoint is "
            "from before: lower OptimizerConfig.learning_rate, raise its warm-up, or mend the data, and start again."
        )


SPIKE_WINDOW = 32
"""Losses whose median a spike is measured by; none is found before there are so many."""

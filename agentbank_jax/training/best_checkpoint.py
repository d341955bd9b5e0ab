"""`RUN@best`: the checkpoint of a run that an evaluation has found best.

Either the run itself has measured its checkpoints (`TrainConfig.best_metric`), or `evaluate.py --watch` has, beside it,
and has written `best.json`.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.training.checkpoint_files import FOLDER, is_complete, read_metadata, step_folders
from agentbank_jax.whole_files import unwritten, whole_file

SUFFIX = "@best"
FILE = "best.json"


class Best(NamedTuple):
    """The best step by a metric, and its value."""

    step: int
    metric: str
    value: float


def best_of(values: Mapping[int, Mapping[str, float]], metric: str, mode: str) -> Best | None:
    """The step with the best of a metric, `min` or `max`; of equal ones the last, and None where none has it."""
    sign = 1 if mode == "max" else -1
    found = [(sign * each[metric], step) for step, each in values.items() if math.isfinite(each.get(metric, math.nan))]
    if not found:
        return None
    value, step = max(found)
    return Best(step, metric, sign * value)


def write_best(folder: Path, best: Best) -> None:
    """Writes `best.json`, whole or not at all.

    Raises:
      AgentBankError: it cannot be written.
    """
    try:
        with whole_file(folder / FILE) as path:
            path.write_text(json.dumps(best._asdict()) + "\n", encoding="utf-8")
    except OSError as error:
        raise unwritten(folder / FILE, error.strerror) from None


def resolve_checkpoint(checkpoint: str | os.PathLike[str]) -> Path:
    """The path that `--checkpoint` means: itself, or of `RUN@best` the folder of the best step.

    Raises:
      AgentBankError: nothing says which is the best, two evaluations do, or it is not kept any more.
    """
    text = os.fspath(checkpoint)
    path = Path(text).expanduser()
    if not text.endswith(SUFFIX) or path.is_dir():
        return path
    run = Path(text.removesuffix(SUFFIX)).expanduser()
    if not run.is_dir():
        siblings = [each.name for each in run.parent.iterdir() if each.is_dir()] if run.parent.is_dir() else []
        raise AgentBankError(f"The run {run} does not exist.{did_you_mean(run.name, siblings)}")
    best = _of_the_run(run) or _of_watchers(run)
    folder = run / FOLDER / str(best.step)
    if not folder.is_dir():
        raise AgentBankError(
            f"{run}: step {best.step} was the best ({best.metric} {best.value:g}), and is not kept any more; raise "
            "TrainConfig.keep_checkpoints or set keep_every, so that a run keeps what is measured beside it."
        )
    return folder


def _of_the_run(run: Path) -> Best | None:
    found: dict[int, Mapping[str, Any]] = {
        int(path.name): read_metadata(path) for path in step_folders(run / FOLDER) if is_complete(path)
    }
    for metadata in found.values():  # the latest first
        if metadata.get("best_metric"):
            values = {step: each.get("metrics", {}) for step, each in found.items()}
            return best_of(values, metadata["best_metric"], metadata["best_mode"])
    return None


def _of_watchers(run: Path) -> Best:
    files = [file for file in (run / FILE, *sorted(run.glob(f"evaluation-*/{FILE}"))) if file.is_file()]
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(run)) for file in files)
        raise AgentBankError(
            f"{run}{SUFFIX}: several evaluations have chosen ({names}); name the step of one: "
            f"--checkpoint={run}/{FOLDER}/STEP."
        )
    if not files:
        raise AgentBankError(
            f"{run}{SUFFIX}: nothing says which of its checkpoints is the best; expected a run that was trained with "
            f"TrainConfig.best_metric, or evaluated with evaluate.py --watch={run}."
        )
    try:
        best = json.loads(files[0].read_text(encoding="utf-8"))
        return Best(int(best["step"]), str(best["metric"]), float(best["value"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise AgentBankError(
            f"{files[0]}: cannot be read; expected step, metric and value, as evaluate.py --watch={run} writes them."
        ) from None

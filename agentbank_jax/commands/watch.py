"""`python evaluate.py --watch=MODEL_DIR`: sweeps over every checkpoint of a run, beside the job that writes them."""

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.evaluation.acting_model import ActingModel
from agentbank_jax.evaluation.contamination import MANIFEST_FILE, TrainingManifest
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_values import mean_name, play, value_names
from agentbank_jax.folder_lock import locked
from agentbank_jax.training.best_checkpoint import best_of, write_best
from agentbank_jax.training.checkpoint_files import FOLDER, is_complete, read_metadata, step_folders
from agentbank_jax.training.metrics import MetricsWriter, read_metrics
from agentbank_jax.training.trained_models import UnreadableCheckpointError
from agentbank_jax.whole_files import whole_file

POLL_SECONDS = 5.0

_MEASURED = "watched.json"


def watch_run(
    run: Path,
    sweeps: Sequence[SweepConfig],
    output: Path,
    console: Console,
    *,
    best_metric: str = "",
    best_mode: str = "max",
    newest: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Evaluates the whole checkpoints of a run as they appear, until its last step is evaluated.

    `output` gets `metrics.jsonl` and `tensorboard/` with a record for each step, `best.json`, and the episodes by
    step. A step is recorded when all of its episodes are played; a process that is killed and started again goes on
    there.

    Args:
      run: `--model_dir` of the training; may not exist yet.
      sweeps: what to play, without baselines.
      output: folder of the results; no other process may write there.
      console: where to tell.
      best_metric: what `best.json` goes by; the mean success of the first sweep if "".
      best_mode: `min` or `max` of it.
      newest: leaves out a checkpoint where a newer one is there already.
      sleep: waits some seconds.

    Raises:
      AgentBankError: the run's tokenizer or manifest is missing or another, `best_metric` is not measured, or `output`
        cannot be written or holds results of other sweeps or of another run.
    """
    names = value_names(sweeps)
    metric, mode = (best_metric, best_mode) if best_metric else (mean_name(sweeps[0]), "max")
    if metric not in names:
        raise AgentBankError(
            f"TrainConfig.best_metric={metric!r} is not measured by the sweeps, as far as they can run here."
            + did_you_mean(metric, names)
        )

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    # The run's folder is the run's to make: a name that was mistyped leaves nothing.
    waiting = not run.is_dir()
    if waiting:
        say(f"waiting for the run {run}{_near(run)}; Ctrl-C ends it")
    while not run.is_dir():
        sleep(POLL_SECONDS)
    with locked(output, "evaluate.py", "--model_dir"):
        _keep_to(output, run, sweeps)
        values = {int(record["step"]): record for record in read_metrics(output)}
        passed_over: set[tuple[int, int]] = set()
        with MetricsWriter(output, start_step=max(values, default=0)) as writer:
            while True:
                new = _new_checkpoints(run, values, passed_over)
                if newest:
                    new = [path for path in new if int(path.name) > max(values, default=-1)][-1:]
                if not new:
                    if _has_ended(run):
                        break
                    if not waiting:
                        say(f"waiting for checkpoints in {run / FOLDER}; Ctrl-C ends it")
                    waiting = True
                    sleep(POLL_SECONDS)
                    continue
                waiting = False
                step, version, started = int(new[0].name), _version(new[0]), time.perf_counter()
                try:
                    measured = _measure(new[0], run, sweeps, output)
                except UnreadableCheckpointError as error:
                    gone = not new[0].is_dir() or _version(new[0]) != version
                    passed_over.add(version)
                    say(f"step {step}: passed over: {'the run has deleted it' if gone else error}")
                    continue
                values[step] = measured
                writer.write(step, measured)
                if best := best_of(values, metric, mode):
                    write_best(output, best)
                figures = "  ".join(f"{name} {value:.4g}" for name, value in measured.items() if "/success" in name)
                say(f"step {step}: {figures}  in {time.perf_counter() - started:.0f} s")
    if best := best_of(values, metric, mode):
        say(f"the best of {len(values)} steps: {best.step} ({best.metric} {best.value:.4g})")


def _near(run: Path) -> str:
    siblings = [path.name for path in run.parent.iterdir() if path.is_dir()] if run.parent.is_dir() else []
    near = did_you_mean(run.name, siblings)
    return f", which is not there yet ({near.strip()})" if near.startswith(" Did") else ", which is not there yet"


def _keep_to(output: Path, run: Path, sweeps: Sequence[SweepConfig]) -> None:
    """Writes down what is measured, or makes sure that it is what was measured before: steps are to be compared."""
    file, now = output / _MEASURED, {"run": str(run.absolute()), **{sweep.name: asdict(sweep) for sweep in sweeps}}
    text = json.dumps(now, indent=1)
    if not file.is_file():
        with whole_file(file) as path:
            path.write_text(text + "\n", encoding="utf-8")
        return
    before, now = json.loads(file.read_text(encoding="utf-8")), json.loads(text)
    if different := sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)):
        raise AgentBankError(
            f"{output} holds results of another run, or of a sweep with other settings ({', '.join(different)}, see "
            f"{_MEASURED}); expected the same for all steps: choose another folder with --model_dir."
        )


def _new_checkpoints(run: Path, done: Collection[int], passed_over: Collection[tuple[int, int]]) -> list[Path]:
    """Folders of the steps to evaluate, in their order; one that is still written has no such name, or no metadata."""
    return [
        path
        for path in reversed(step_folders(run / FOLDER))
        if int(path.name) not in done and _version(path) not in passed_over and is_complete(path)
    ]


def _version(path: Path) -> tuple[int, int]:
    """Differs where a run has written a step again; (-1, -1) of one that is gone."""
    try:
        stat = path.stat()
        return stat.st_ino, stat.st_mtime_ns
    except OSError:
        return -1, -1


def _has_ended(run: Path) -> bool:
    """Whether the last of a run's checkpoints is its last step."""
    for path in step_folders(run / FOLDER):
        if not is_complete(path):
            return False
        last = read_metadata(path).get("total_steps")
        # What was not trained here does not say.
        return last is None or int(path.name) >= last
    return False


def _measure(path: Path, run: Path, sweeps: Sequence[SweepConfig], output: Path) -> dict[str, float]:
    model = ActingModel.load(path)
    manifest = TrainingManifest.load(run / MANIFEST_FILE)
    return play(sweeps, model, output / f"step-{path.name}", manifest=manifest)

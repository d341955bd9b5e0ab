"""Sweeps as numbers to follow while a model is trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agentbank_jax.evaluation.acting_model import ActingModel
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.sweep import Progress, run_sweep
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_result import SweepResult


def value_names(sweeps: Sequence[SweepConfig]) -> tuple[str, ...]:
    """The names of what `play` may return: of tasks that can run here, and of their means."""
    names: list[str] = []
    for sweep in sweeps:
        tasks = [spec.name for spec in sweep.specs() if sweep.not_run(spec) is None]
        names += [f"arena/{sweep.name}/{task}/{kind}" for task in tasks for kind in ("success", "reward")]
        names += [mean_name(sweep)] if tasks else []
    return tuple(names)


def mean_name(sweep: SweepConfig | SweepResult) -> str:
    """The name of a sweep's success over all of its tasks."""
    return f"arena/{sweep.name}/success"


def play(
    sweeps: Sequence[SweepConfig],
    model: ActingModel,
    output_dir: Path,
    *,
    manifest: TrainingManifest,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Lets a model play sweeps, driven by their first agents and without anyone else; returns their `sweep_values`.

    Args, files and errors as of `sweep.run_sweep`.
    """
    values: dict[str, float] = {}
    for sweep in sweeps:
        alone = replace(sweep, baselines=(), models=(), agents=sweep.agents[:1])
        result = run_sweep(alone, model.contenders(alone, manifest), output_dir, progress=progress)
        values |= sweep_values(result, model.name)
    return values


def sweep_values(result: SweepResult, model: str) -> dict[str, float]:
    """Success rate and average reward of each task, and the mean success of those that count.

    Tasks that did not run, and those without an instance that the model was not trained on, have no values;
    contaminated ones count in no mean.
    """
    values: dict[str, float] = {}
    counted = []
    for task in result.tasks:
        summary = task.summaries.get(model)
        if summary is None or not summary.episodes:
            continue
        values[f"arena/{result.name}/{task.facts.name}/success"] = summary.success_rate
        values[f"arena/{result.name}/{task.facts.name}/reward"] = summary.average_reward
        if model not in task.contaminated:
            counted.append(summary.success_rate)
    if counted:
        values[mean_name(result)] = sum(counted) / len(counted)
    return values

"""The tables of a sweep."""

from collections.abc import Iterable

from agentbank_jax.agents.rollout import TERMINATE_REASONS
from agentbank_jax.environments.registry import SKILLS
from agentbank_jax.evaluation.results import Summary
from agentbank_jax.evaluation.sweep import SweepResult, TaskResult
from agentbank_jax.presentation.table import Table

ABSENT = "–"


def success_table(result: SweepResult) -> Table:
    """Success rates with 95 % intervals, a column per model, tasks by skill, and the means."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for task in _by_skill(result.tasks):
        if task.not_run is not None:
            cells = ["not run"] * len(result.models)
            notes.append(f"{task.spec.name} was not run: {task.not_run}")
        else:
            cells = [
                _rate(task.summaries[model].success_rate, task.summaries[model].interval, task.summaries[model])
                for model in result.models
            ]
        rows.append((task.spec.skill, _task_name(task), *cells))
        if task.contaminated:
            notes.append(f"{task.spec.name} is held out, but the model was trained on it: not in the held-out mean.")
        left_out = max((summary.left_out for summary in task.summaries.values()), default=0)
        if left_out:
            notes.append(f"{task.spec.name}: {left_out} instances that were trained on are left out.")
        errors = sum(summary.environment_errors for summary in task.summaries.values())
        if errors:
            notes.append(f"{task.spec.name}: {errors} episodes ended by an error of the environment; they count as 0.")
    strong = []
    for label, held_out in (("held-in mean", False), ("held-out mean", True)):
        means = [result.mean(model, held_out=held_out) for model in result.models]
        if any(means):
            strong.append(len(rows))
            rows.append(("", label, *(_rate(m.success_rate, m.interval) if m else ABSENT for m in means)))
    config = result.config
    return Table(
        title=f"Success in per cent (95 % interval), sweep '{config.name}', "
        f"{config.episodes_per_task} {config.split} episodes per task",
        columns=("skill", "task", *result.models),
        rows=tuple(rows),
        strong=frozenset(strong),
        notes=tuple(notes),
    )


def detail_table(result: SweepResult) -> Table:
    """Reward, steps, invalid actions and cost of each model in each task."""
    rows = []
    for task in _by_skill(result.tasks):
        for model in result.models:
            if (summary := task.summaries.get(model)) is not None:
                rows.append(
                    (
                        task.spec.skill,
                        task.spec.name,
                        model,
                        str(summary.episodes),
                        f"{100 * summary.success_rate:.1f}",
                        f"{summary.average_reward:.3f}",
                        f"{summary.steps:.1f}",
                        f"{100 * summary.invalid_rate:.1f}",
                        f"{summary.tokens:.0f}",
                    )
                )
    return Table(
        title=f"Reward, steps and cost, sweep '{result.config.name}'",
        columns=("skill", "task", "model", "episodes", "success %", "reward", "steps", "invalid %", "tokens"),
        rows=tuple(rows),
        text_columns=3,
    )


def reasons_table(result: SweepResult) -> Table:
    """Why the episodes of each model ended, all tasks together."""
    rows = []
    for model in result.models:
        summaries = [task.summaries[model] for task in result.tasks if model in task.summaries]
        counts = [sum(summary.reasons.get(reason, 0) for summary in summaries) for reason in TERMINATE_REASONS]
        rows.append((model, *map(str, counts)))
    return Table(
        title=f"Why episodes ended, sweep '{result.config.name}'",
        columns=("model", *(reason.replace("_", " ") for reason in TERMINATE_REASONS)),
        rows=tuple(rows),
        text_columns=1,
    )


def _by_skill(tasks: Iterable[TaskResult]) -> list[TaskResult]:
    return sorted(tasks, key=lambda task: (task.spec.held_out, SKILLS.index(task.spec.skill)))


def _task_name(task: TaskResult) -> str:
    mark = " CONTAMINATED" if task.contaminated else " (held out)" if task.spec.held_out else ""
    return task.spec.name + mark


def _rate(rate: float, interval: tuple[float, float], summary: Summary | None = None) -> str:
    if summary is not None and not summary.episodes:
        return ABSENT
    return f"{100 * rate:.1f} ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})"

"""The tables of a sweep."""

from collections.abc import Iterable

from agentbank_jax.agents.episode import TERMINATE_REASONS
from agentbank_jax.environments.registry import SKILLS
from agentbank_jax.evaluation.results import Summary
from agentbank_jax.evaluation.sweep_result import SweepResult, TaskResult
from agentbank_jax.presentation.table import Table

ABSENT = "–"


def success_table(result: SweepResult) -> Table:
    """Success rates with 95 % intervals, a column per model, tasks by skill, and the means."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for task in _by_skill(result.tasks):
        if task.not_run is not None:
            cells = ["not run"] * len(result.columns)
            notes.append(f"{task.facts.name} was not run: {task.not_run}")
        else:
            cells = [
                _rate(summary.success_rate, summary.interval, summary)
                for summary in (task.summaries[column.name] for column in result.columns)
            ]
        rows.append((task.facts.skill, _task_name(task), *cells))
        if task.contaminated:
            models = ", ".join(sorted(task.contaminated))
            notes.append(f"{task.facts.name} is held out, but {models} was trained on it: not in its held-out mean.")
        left_out = max((summary.left_out for summary in task.summaries.values()), default=0)
        if left_out:
            notes.append(f"{task.facts.name}: {left_out} instances that were trained on are left out.")
        errors = sum(summary.environment_errors for summary in task.summaries.values())
        if errors:
            notes.append(f"{task.facts.name}: {errors} episodes ended by an error of the environment; they count as 0.")
    strong = []
    for label, held_out in (("held-in mean", False), ("held-out mean", True)):
        means = [result.mean(name, held_out=held_out) for name in _names(result)]
        if any(means):
            strong.append(len(rows))
            rows.append(("", label, *(_rate(m.success_rate, m.interval) if m else ABSENT for m in means)))
    return Table(
        title=f"Success in per cent (95 % interval), sweep '{result.name}', {result.split} episodes",
        columns=("skill", "task", *(column.name for column in result.columns)),
        rows=tuple(rows),
        strong=frozenset(strong),
        notes=tuple(notes),
    )


def detail_table(result: SweepResult) -> Table:
    """Reward, steps, invalid actions and cost of each model in each task."""
    rows = []
    for task in _by_skill(result.tasks):
        for model in _names(result):
            if (summary := task.summaries.get(model)) is not None:
                rows.append(
                    (
                        task.facts.skill,
                        task.facts.name,
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
        title=f"Reward, steps and cost, sweep '{result.name}'",
        columns=("skill", "task", "model", "episodes", "success %", "reward", "steps", "invalid %", "tokens"),
        rows=tuple(rows),
        text_columns=3,
    )


def reasons_table(result: SweepResult) -> Table:
    """Why the episodes of each model ended, all tasks together."""
    rows = []
    for model in _names(result):
        summaries = [task.summaries[model] for task in result.tasks if model in task.summaries]
        counts = [sum(summary.reasons.get(reason, 0) for summary in summaries) for reason in TERMINATE_REASONS]
        rows.append((model, *map(str, counts)))
    return Table(
        title=f"Why episodes ended, sweep '{result.name}'",
        columns=("model", *(reason.replace("_", " ") for reason in TERMINATE_REASONS)),
        rows=tuple(rows),
        text_columns=1,
    )


def _names(result: SweepResult) -> list[str]:
    return [column.name for column in result.columns]


def _by_skill(tasks: Iterable[TaskResult]) -> list[TaskResult]:
    return sorted(tasks, key=lambda task: (task.facts.held_out, SKILLS.index(task.facts.skill)))


def _task_name(task: TaskResult) -> str:
    mark = " CONTAMINATED" if task.contaminated else " (held out)" if task.facts.held_out else ""
    return task.facts.name + mark


def _rate(rate: float, interval: tuple[float, float], summary: Summary | None = None) -> str:
    if summary is not None and not summary.episodes:
        return ABSENT
    return f"{100 * rate:.1f} ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})"

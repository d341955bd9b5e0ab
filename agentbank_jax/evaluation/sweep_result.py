"""What a sweep found: the episodes of each task and column, and their figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.intervals import effective_episodes, wilson_interval
from agentbank_jax.evaluation.results import Summary, summarize


@dataclass(frozen=True, kw_only=True)
class Column:
    """Who played, and how.

    Fields:
      model: the contender's name.
      agent: how it was driven.
      name: in tables.
    """

    model: str
    agent: str
    name: str


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What a report says of an environment; see `EnvironmentSpec`. `episodes`: instances played by each column."""

    name: str
    skill: str
    held_out: bool
    protocol: str
    licence: str
    max_steps: int
    success_threshold: float
    episodes: int

    @classmethod
    def of(cls, spec: EnvironmentSpec, *, max_steps: int | None, episodes: int) -> "TaskFacts":
        return cls(
            name=spec.name,
            skill=spec.skill,
            held_out=spec.held_out,
            protocol=spec.protocol,
            licence=spec.licence,
            max_steps=max_steps or spec.max_steps,
            success_threshold=spec.success_threshold,
            episodes=episodes,
        )


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task of a sweep.

    Fields:
      facts: of the environment.
      not_run: why it could not run here; None where it did.
      contaminated: models that cannot be judged by it (see `TrainingManifest.contaminates`).
      summaries: column → figures; empty where it did not run.
      records: column → episodes by seed and index.
    """

    facts: TaskFacts
    not_run: str | None = None
    contaminated: frozenset[str] = frozenset()
    summaries: dict[str, Summary] = field(default_factory=dict)
    records: dict[str, tuple[EpisodeRecord, ...]] = field(default_factory=dict)

    def add(self, column: Column, records: Sequence[EpisodeRecord]) -> None:
        """Adds a column's episodes and their figures."""
        self.records[column.name] = tuple(records)
        facts = self.facts
        self.summaries[column.name] = summarize(records, task=facts.name, skill=facts.skill, model=column.name)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over tasks of their success rates and rewards, and the 95 % interval of the former."""

    tasks: int
    success_rate: float
    average_reward: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """All episodes of a sweep, by task and column.

    Fields:
      name: of the sweep.
      split, answers, seeds, first_index: see `SweepConfig`.
      columns: in the order of tables: the models first.
      base: the model that the others are compared with; None where there is none.
      tasks: in the order of the sweep.
    """

    name: str
    split: str
    answers: str
    seeds: tuple[int, ...]
    first_index: int
    columns: tuple[Column, ...]
    base: str | None
    tasks: tuple[TaskResult, ...]

    def places(self, task: TaskResult) -> list[tuple[int, int]]:
        """The seed and index of each episode of a task, in the order in which they are reported."""
        indices = range(self.first_index, self.first_index + task.facts.episodes)
        return [(seed, index) for seed in self.seeds for index in indices]

    def mean(self, column: str, *, held_out: bool, skill: str | None = None) -> Mean | None:
        """Mean of a column over the held-in or held-out tasks that ran, optionally those of one skill.

        Tasks that contaminate the model do not count as held out, and those whose environment ended every episode do
        not count. None where no task counts.
        """
        model = next(one.model for one in self.columns if one.name == column)
        summaries = [
            task.summaries[column]
            for task in self.tasks
            if task.facts.held_out == held_out
            and (skill is None or task.facts.skill == skill)
            and model not in task.contaminated
            and column in task.summaries
            and task.summaries[column].episodes
            and not task.summaries[column].broken
        ]
        return mean_of(summaries)


def mean_of(summaries: Sequence[Summary]) -> Mean | None:
    """The mean of one column's figures in several tasks; None of none."""
    if not summaries:
        return None
    rate = sum(summary.success_rate for summary in summaries) / len(summaries)
    return Mean(
        tasks=len(summaries),
        success_rate=rate,
        average_reward=sum(summary.average_reward for summary in summaries) / len(summaries),
        interval=wilson_interval(rate, effective_episodes([summary.independent for summary in summaries])),
    )

"""A sweep: policies times tasks, many episodes at once, resumed where it was stopped."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentbank_jax.agents.policy import OraclePolicy, Policy, RandomPolicy
from agentbank_jax.agents.react import ReAct
from agentbank_jax.agents.rollout import Episode, roll_out
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.results import ResultFile, Summary, effective_episodes, summarize, wilson_interval
from agentbank_jax.generation.requests import SamplingParams

BASELINES = ("untrained", "random", "oracle")

Progress = Callable[[str, str, int, int], None]
"""Called with the sweep's name, the policy's name, episodes done and episodes in all."""


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Which episodes to play, and within which limits.

    In gin each sweep is a scope of its own: `held_in/SweepConfig.tasks = ("starter_math",)`.

    Fields:
      name: of the sweep, and of its folder of results.
      tasks: names of environments.
      episodes_per_task: instances `first_index` … of the split.
      split: `test` or `train`.
      first_index: the first instance.
      baselines: what to run beside the model: `untrained` (the same shape, fresh weights),
        `random`, `oracle`.
      max_new_tokens: longest reply of a model, in tokens.
      max_steps: assistant turns in an episode; None takes each environment's own limit.
      max_unparseable: an episode ends after so many replies in a row without an action.
      slots: episodes at once.
      max_length: tokens in a conversation; None takes the model's limit.
      temperature, top_p: how a model's tokens are drawn (see `generation.requests.SamplingParams`); a temperature of 0
        takes the most likely ones.
      choose_actions: in environments that list their actions, a model's Thought is free and its Action is the most
        likely of the list.
      seed: decides what the random policy does, and what a model draws.
    """

    name: str = "sweep"
    tasks: Sequence[str] = ()
    episodes_per_task: int = 40
    split: str = "test"
    first_index: int = 0
    baselines: Sequence[str] = BASELINES
    max_new_tokens: int = 80
    max_steps: int | None = None
    max_unparseable: int = 3
    slots: int = 32
    max_length: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    choose_actions: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "baselines", tuple(self.baselines))
        where = f"SweepConfig '{self.name}'"
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise AgentBankError(f"{where}: the name becomes a folder; expected one without '/' or a leading dot.")
        if not self.tasks:
            raise AgentBankError(f"{where}: tasks is empty; expected names of environments.")
        if len(set(self.tasks)) < len(self.tasks):
            raise AgentBankError(f"{where}: tasks={self.tasks} names one twice.")
        for name in ("episodes_per_task", "max_new_tokens", "max_unparseable", "slots"):
            if getattr(self, name) < 1:
                raise AgentBankError(f"{where}: {name}={getattr(self, name)}; expected at least 1.")
        self.sampling()
        if self.max_steps is not None and self.max_steps < 1:
            raise AgentBankError(f"{where}: max_steps={self.max_steps}; expected at least 1, or None.")
        if self.first_index < 0:
            raise AgentBankError(f"{where}: first_index={self.first_index}; expected 0 or more.")
        for baseline in self.baselines:
            if baseline not in BASELINES:
                raise AgentBankError(f"{where}: unknown baseline '{baseline}'.{did_you_mean(baseline, BASELINES)}")
        registry.check_split(self.split)

    def sampling(self) -> SamplingParams:
        """How a model's tokens are drawn.

        Raises:
          AgentBankError: a temperature or a top_p outside its range.
        """
        return SamplingParams(temperature=self.temperature, top_p=self.top_p, seed=self.seed)

    def decoding(self) -> str:
        """How a model acts, for a report; the same words mean the same replies."""
        drawn = "greedy decoding" if not self.temperature else f"temperature {self.temperature}, seed {self.seed}"
        parts = [drawn, f"top_p {self.top_p}" if self.temperature and self.top_p < 1 else ""]
        return ", ".join(part for part in (*parts, "actions of the list" if self.choose_actions else "") if part)

    def specs(self) -> tuple[EnvironmentSpec, ...]:
        """The environments of the tasks.

        Raises:
          AgentBankError: an unknown name, with the nearest known one.
        """
        return tuple(registry.get(task) for task in self.tasks)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A policy that takes part in a sweep.

    Fields:
      name: column of the table and folder of the results.
      identity: changes whenever its behaviour may: results of another identity are not reused.
      make: makes the policy; not called where every episode is already recorded.
    """

    name: str
    identity: str
    make: Callable[[], Policy]


def baseline_contenders(config: SweepConfig) -> tuple[Contender, ...]:
    """The baselines that need no model, as far as the sweep asks for them."""
    known = {
        "random": Contender(name="random", identity="random/1", make=lambda: RandomPolicy(capacity=config.slots)),
        "oracle": Contender(name="oracle", identity="oracle/1", make=lambda: OraclePolicy(capacity=config.slots)),
    }
    return tuple(known[name] for name in config.baselines if name in known)


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task of a sweep.

    Fields:
      spec: the environment.
      not_run: why it could not run here; None where it did.
      contaminated: it is held out, and the model was trained on it.
      summaries: model name → figures; empty where it did not run.
      records: model name → episodes by index.
    """

    spec: EnvironmentSpec
    not_run: str | None = None
    contaminated: bool = False
    summaries: dict[str, Summary] = field(default_factory=dict)
    records: dict[str, tuple[EpisodeRecord, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over tasks of their success rates and rewards, and the 95 % interval of the former."""

    tasks: int
    success_rate: float
    average_reward: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """All episodes of a sweep, by task and model."""

    config: SweepConfig
    models: tuple[str, ...]
    tasks: tuple[TaskResult, ...]

    def mean(self, model: str, *, held_out: bool) -> Mean | None:
        """Mean over the held-in or held-out tasks that ran; contaminated ones do not count as held out.

        None where no task counts.
        """
        counted = [
            task
            for task in self.tasks
            if task.spec.held_out == held_out
            and not task.contaminated
            and model in task.summaries
            and task.summaries[model].episodes
        ]
        if not counted:
            return None
        summaries = [task.summaries[model] for task in counted]
        rate = sum(summary.success_rate for summary in summaries) / len(counted)
        return Mean(
            tasks=len(counted),
            success_rate=rate,
            average_reward=sum(summary.average_reward for summary in summaries) / len(counted),
            interval=wilson_interval(rate, effective_episodes([summary.episodes for summary in summaries])),
        )


def run_sweep(
    config: SweepConfig,
    contenders: Sequence[Contender],
    output_dir: Path,
    *,
    manifest: TrainingManifest | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Plays what is not yet recorded, and returns everything.

    Each contender's episodes in a task are appended to
    `output_dir/<sweep>/<contender>/<task>.jsonl` as they end. A sweep that was killed and is run
    again skips the recorded episodes and gives the same figures as one that ran through.

    Args:
      config: what to play.
      contenders: who plays; the model first, as in the table.
      output_dir: where results go.
      manifest: what the model was trained on; None for a model that was not trained.
      progress: told about every finished episode.

    Raises:
      AgentBankError: an unknown task, or results that cannot be written.
    """
    manifest = manifest or TrainingManifest()
    agent = ReAct()
    tasks = [
        TaskResult(
            spec=spec,
            not_run=spec.available(),
            contaminated=spec.held_out and manifest.trained_on_task(spec.name),
        )
        for spec in config.specs()
    ]
    runnable = [task for task in tasks if task.not_run is None]
    total = len(runnable) * config.episodes_per_task
    indices = range(config.first_index, config.first_index + config.episodes_per_task)
    for contender in contenders:
        keys = {task.spec.name: _key(config, contender, task.spec, agent) for task in runnable}
        files = {
            task.spec.name: ResultFile(
                output_dir / config.name / contender.name / f"{task.spec.name}.jsonl", key=keys[task.spec.name]
            )
            for task in runnable
        }
        records = {name: file.load() for name, file in files.items()}
        waiting = {
            _episode_id(task.spec, config, index): (task.spec, index)
            for task in runnable
            for index in indices
            if index not in records[task.spec.name]
        }
        done = total - len(waiting)
        if progress:
            progress(config.name, contender.name, done, total)
        if waiting:
            policy = contender.make()
            episodes = _episodes(waiting, config)
            for outcome in roll_out(episodes, policy, agent=agent, max_unparseable=config.max_unparseable):
                spec, index = waiting[outcome.episode.id]
                record = EpisodeRecord.of(
                    outcome,
                    task=spec.name,
                    skill=spec.skill,
                    protocol=spec.protocol,
                    split=config.split,
                    index=index,
                    model=contender.name,
                    agent=agent.name,
                    trained_on=manifest.trained_on_instance(
                        spec.name, outcome.instance.id if outcome.instance else None
                    ),
                    key=keys[spec.name],
                )
                files[spec.name].append(record)
                records[spec.name][index] = record
                done += 1
                if progress:
                    progress(config.name, contender.name, done, total)
        for task in runnable:
            name = task.spec.name
            # Asked again for kept records: a baseline's may be older than the manifest.
            ordered = tuple(
                replace(record, trained_on=manifest.trained_on_instance(name, record.instance_id))
                for record in (records[name][index] for index in indices)
            )
            task.records[contender.name] = ordered
            task.summaries[contender.name] = summarize(ordered, task=name, skill=task.spec.skill, model=contender.name)
    return SweepResult(config=config, models=tuple(contender.name for contender in contenders), tasks=tuple(tasks))


def _episode_id(spec: EnvironmentSpec, config: SweepConfig, index: int) -> str:
    return f"{spec.name}/{config.split}/{index}"


def _episodes(waiting: dict[str, tuple[EnvironmentSpec, int]], config: SweepConfig) -> Iterator[Episode]:
    # What may take longest comes first: the end of a sweep is then not one long episode.
    for identifier, (spec, index) in sorted(waiting.items(), key=lambda item: -item[1][0].max_steps):
        yield Episode(
            id=identifier,
            instruction=spec.instruction,
            make=spec.make,
            instance=_instance(spec, config.split, index),
            max_steps=config.max_steps or spec.max_steps,
            success_threshold=spec.success_threshold,
            seed=config.seed,
        )


def _instance(spec: EnvironmentSpec, split: str, index: int) -> Callable[[], Instance]:
    return lambda: spec.instance(split, index)


def _key(config: SweepConfig, contender: Contender, spec: EnvironmentSpec, agent: ReAct) -> str:
    """Hash of what decides an episode beside its index."""
    facts = {
        "contender": contender.identity,
        "protocol": spec.protocol,
        "data": spec.data_version(),
        "instruction": spec.instruction,
        "success_threshold": spec.success_threshold,
        "max_steps": config.max_steps or spec.max_steps,
        "max_unparseable": config.max_unparseable,
        "split": config.split,
        "seed": config.seed,
        "agent": [agent.name, agent.format_reminder],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

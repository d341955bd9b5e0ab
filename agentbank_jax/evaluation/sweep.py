"""Runs a sweep: models times agents times tasks times seeds, many episodes at once, resumed where it was stopped."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from agentbank_jax.agents.agent import Agent
from agentbank_jax.agents.episode import Episode
from agentbank_jax.agents.rollout import roll_out
from agentbank_jax.environments.base import Instance, check_answers
from agentbank_jax.environments.pool import EnvironmentPool, LocalPool, ProcessPool
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.evaluation.contender import Contender, hash_of
from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.results import ResultFile
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_file import result_path, write_sweep
from agentbank_jax.evaluation.sweep_result import Column, SweepResult, TaskFacts, TaskResult

Progress = Callable[[str, str, int, int], None]
"""Called with the sweep's name, the column's name, episodes done and episodes in all."""


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """One play of one instance: what an episode is beside its column. `data`: the version of the instances."""

    spec: EnvironmentSpec
    data: str
    index: int
    seed: int

    def id(self, config: SweepConfig) -> str:
        return f"{self.spec.name}/{config.split}/{self.index}/{self.seed}"


def run_sweep(
    config: SweepConfig,
    contenders: Sequence[Contender],
    output_dir: Path,
    *,
    earlier: SweepResult | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Plays what is not yet recorded, and returns everything.

    Each contender's episodes in a task are appended to `sweep_file.result_path` as they end, and what the sweep is
    stands beside them. A sweep that was killed and is run again skips the recorded episodes and gives the same figures
    as one that ran through.

    Args:
      config: what to play.
      contenders: who plays; the models first, as in the table.
      output_dir: where results go.
      earlier: what some of the contenders have played in this process already; they need not play again.
      progress: told about every finished episode.

    Raises:
      AgentBankError: an unknown task, or results that cannot be written.
    """
    specs = config.specs()
    reasons = {spec.name: config.not_run(spec) for spec in specs}
    counts = {spec.name: 0 if reasons[spec.name] else _episodes_of(spec, config) for spec in specs}
    agents = {agent.name: agent for agent in config.make_agents()}
    columns = _columns(contenders, tuple(agents))
    result = SweepResult(
        name=config.name,
        split=config.split,
        answers=config.answers,
        seeds=tuple(config.seeds),
        first_index=config.first_index,
        columns=tuple(columns),
        base=_base(config, contenders),
        tasks=tuple(
            TaskResult(
                facts=TaskFacts.of(spec, max_steps=config.max_steps, episodes=counts[spec.name]),
                not_run=reasons[spec.name],
                contaminated=frozenset(one.name for one in contenders if one.manifest.contaminates(spec)),
            )
            for spec in specs
        ),
    )
    turns = [
        _Turn(spec=spec, data=data, index=index, seed=seed)
        for spec in specs
        for data in (spec.data_version() if reasons[spec.name] is None else "",)
        for seed in config.seeds
        for index in range(config.first_index, config.first_index + counts[spec.name])
    ]
    # Before the sweep says what it is: what another one left in its files is then in no report of this one.
    by_name = {one.name: one for one in contenders}
    players = {
        column: _Player(config, by_name[column.model], column, agents[column.agent], turns, output_dir)
        for column in columns
        if _found(earlier, column) is None
    }
    write_sweep(result, output_dir)
    with ExitStack() as resources:
        pool: EnvironmentPool = ProcessPool(config.episodes_at_once) if config.processes else LocalPool()
        resources.enter_context(pool)
        for column in columns:
            found = _found(earlier, column)
            if found is None:
                player = players[column]
                player.play(pool, contenders, progress)
                found = {task.facts.name: player.recorded(task.facts.name) for task in result.tasks}
            for task in result.tasks:
                if task.not_run is None:
                    task.add(column, _judged(found[task.facts.name], contenders))
    return result


def _found(earlier: SweepResult | None, column: Column) -> dict[str, Sequence[EpisodeRecord]] | None:
    """The episodes of a column that has played, by task."""
    if earlier is None or column not in earlier.columns:
        return None
    return {task.facts.name: task.records.get(column.name, ()) for task in earlier.tasks}


def _judged(records: Sequence[EpisodeRecord], contenders: Sequence[Contender]) -> list[EpisodeRecord]:
    """The same, asked again whether they were trained on: a baseline's may be older than a model's manifest."""
    return [replace(record, trained_on=_trained_on(contenders, record.task, record.instance_id)) for record in records]


class _Player:
    """One column of a sweep: a contender driven by an agent."""

    def __init__(
        self,
        config: SweepConfig,
        contender: Contender,
        column: Column,
        agent: Agent,
        turns: Sequence[_Turn],
        output_dir: Path,
    ) -> None:
        self.column = column
        self._config, self._contender, self._agent, self._turns = config, contender, agent, turns
        self._files = {
            name: ResultFile(
                result_path(output_dir, config.name, column, name), key=_key(config, contender, turn, agent)
            )
            for name, turn in {turn.spec.name: turn for turn in turns}.items()
        }
        self._records = {name: file.load() for name, file in self._files.items()}

    def play(self, pool: EnvironmentPool, contenders: Sequence[Contender], progress: Progress | None) -> None:
        """Plays what is not recorded."""
        waiting = {
            turn.id(self._config): turn
            for turn in self._turns
            if (turn.seed, turn.index) not in self._records[turn.spec.name]
        }
        done = len(self._turns) - len(waiting)
        if progress:
            progress(self._config.name, self.column.name, done, len(self._turns))
        if not waiting:
            return
        policy = self._contender.make()
        outcomes = roll_out(self._episodes(waiting), policy, pool=pool, max_unparseable=self._config.max_unparseable)
        # Closed here, where an outcome cannot be recorded: its places must be given back before the pool ends.
        with closing(outcomes):
            for outcome in outcomes:
                turn = waiting[outcome.episode.id]
                file = self._files[turn.spec.name]
                record = EpisodeRecord.of(
                    outcome,
                    split=self._config.split,
                    index=turn.index,
                    data=turn.data,
                    model=self.column.model,
                    trained_on=_trained_on(
                        contenders, turn.spec.name, outcome.instance.id if outcome.instance else None
                    ),
                    key=file.key,
                )
                file.append(record)
                self._records[turn.spec.name][turn.seed, turn.index] = record
                done += 1
                if progress:
                    progress(self._config.name, self.column.name, done, len(self._turns))

    def _episodes(self, waiting: dict[str, _Turn]) -> Iterator[Episode]:
        # What may take longest comes first: the end of a sweep is then not one long episode.
        for identifier, turn in sorted(waiting.items(), key=lambda item: -item[1].spec.max_steps):
            yield Episode(
                id=identifier,
                spec=turn.spec,
                instance=_instance(turn.spec, self._config.split, turn.index),
                agent=self._agent,
                max_steps=self._config.max_steps,
                answers=check_answers(self._config.answers),
                seed=turn.seed,
            )

    def recorded(self, task: str) -> list[EpisodeRecord]:
        """The episodes of a task, by seed and index."""
        return [self._records[task][turn.seed, turn.index] for turn in self._turns if turn.spec.name == task]


def _columns(contenders: Sequence[Contender], agents: Sequence[str]) -> list[Column]:
    return [
        Column(
            model=contender.name,
            agent=agent,
            name=contender.name if len(driven) == 1 else f"{contender.name}, {agent}",
        )
        for contender in contenders
        for driven in (agents if contender.agents else agents[:1],)
        for agent in driven
    ]


def _base(config: SweepConfig, contenders: Sequence[Contender]) -> str | None:
    names = [contender.name for contender in contenders]
    wanted = config.base or "untrained"
    return wanted if wanted in names else None


def _episodes_of(spec: EnvironmentSpec, config: SweepConfig) -> int:
    size = spec.size(config.split)
    left = config.episodes_per_task if size is None else max(0, size - config.first_index)
    return min(config.episodes_per_task, left)


def _trained_on(contenders: Sequence[Contender], task: str, instance_id: str | None) -> bool:
    # Of any model, so that all are measured by the same instances.
    return any(contender.manifest.trained_on_instance(task, instance_id) for contender in contenders)


def _instance(spec: EnvironmentSpec, split: str, index: int) -> Callable[[], Instance]:
    return lambda: spec.instance(split, index)


def _key(config: SweepConfig, contender: Contender, turn: _Turn, agent: Agent) -> str:
    """Hash of what decides an episode beside its index and seed."""
    spec = turn.spec
    facts = {
        "contender": contender.identity,
        "protocol": spec.protocol,
        "data": turn.data,
        "instruction": spec.instruction,
        "success_threshold": spec.success_threshold,
        "max_steps": config.max_steps or spec.max_steps,
        "max_unparseable": config.max_unparseable,
        "split": config.split,
        "answers": config.answers,
        "agent": agent.facts,
    }
    return hash_of(facts)

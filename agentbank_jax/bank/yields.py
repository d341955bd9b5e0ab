"""How much of a source becomes actions that replay to their reward, and what becomes of the rest."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence, Annotator
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import Replayed, begin, replay
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.presentation.table import Table


@dataclass(frozen=True, kw_only=True)
class ExpertAnnotator:
    """Takes the steps that the environment's own expert knows, without Thoughts.

    Steps behind the end of the episode are left out: some of ScienceWorld's gold paths go on when the goal is reached.
    """

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        environment = begin(spec, instance)
        try:
            steps = []
            for step in environment.expert_steps():
                steps.append(step)
                _, _, terminated, truncated, _ = environment.step(step.action)
                if terminated or truncated:
                    break
        finally:
            environment.close()
        return ActionSequence(steps=tuple(steps), method="heuristic_search", cost={"steps": float(len(steps))})

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "expert"}


@dataclass(kw_only=True)
class Yield:
    """What became of a task's source.

    Fields:
      task: its name.
      rows: instances annotated.
      kept: ids of those whose actions replayed to their reward.
      drops: the others.
      difficulty: of all instances, by id.
    """

    task: str
    rows: int = 0
    kept: list[str] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    difficulty: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Kept of all, 0 to 1; 0 where there is nothing."""
        return len(self.kept) / self.rows if self.rows else 0.0

    @property
    def reasons(self) -> Counter[str]:
        """Drops by reason."""
        return Counter(drop.reason for drop in self.drops)


def attempt(spec: EnvironmentSpec, instance: Instance, annotator: Annotator) -> tuple[ActionSequence, Replayed] | Drop:
    """Annotates an instance and replays the actions in a fresh environment; a drop is of either."""
    sequence = annotator.annotate(spec, instance)
    if isinstance(sequence, Drop):
        return sequence
    replayed = replay(spec, instance, [step.action for step in sequence.steps])
    return replayed if isinstance(replayed, Drop) else (sequence, replayed)


def measure(spec: EnvironmentSpec, instances: Iterable[Instance], annotator: Annotator) -> Yield:
    """Attempts all instances."""
    found = Yield(task=spec.name)
    for instance in instances:
        found.rows += 1
        found.difficulty[instance.id] = instance.difficulty
        outcome = attempt(spec, instance, annotator)
        if isinstance(outcome, Drop):
            found.drops.append(outcome)
        else:
            found.kept.append(instance.id)
    return found


def yield_table(yields: Iterable[Yield]) -> Table:
    """A row for each task: source rows, kept, yield, and drops by reason, the most frequent first."""
    rows = tuple(
        (
            each.task,
            ", ".join(f"{reason} {count:,}" for reason, count in each.reasons.most_common()) or "-",
            f"{each.rows:,}",
            f"{len(each.kept):,}",
            f"{100 * each.share:.1f} %",
        )
        for each in yields
    )
    return Table(title="Yields", columns=("task", "drops by reason", "source rows", "kept", "yield"), rows=rows)

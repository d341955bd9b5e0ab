"""How much of a source becomes actions that replay to their reward, and what becomes of the rest."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from agentbank_jax.bank.annotation import ActionSequence, Annotator
from agentbank_jax.bank.engine import held_engine
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import Replayed, replay
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.presentation.table import Table


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


def attempt(
    spec: EnvironmentSpec, instance: Instance, annotator: Annotator, *, max_steps: int | None = None
) -> tuple[ActionSequence, Replayed] | Drop:
    """Annotates an instance and replays the actions from the start; a drop is of either. `max_steps` as of `replay`."""
    sequence = annotator.annotate(spec, instance)
    if isinstance(sequence, Drop):
        return sequence
    actions = [step.action for step in sequence.steps]
    replayed = replay(spec, instance, actions, environment=held_engine(spec), max_steps=max_steps)
    return replayed if isinstance(replayed, Drop) else (sequence, replayed)


def measure(
    spec: EnvironmentSpec, instances: Iterable[Instance], annotator: Annotator, *, max_steps: int | None = None
) -> Yield:
    """Attempts all instances."""
    found = Yield(task=spec.name)
    for instance in instances:
        found.rows += 1
        found.difficulty[instance.id] = instance.difficulty
        outcome = attempt(spec, instance, annotator, max_steps=max_steps)
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

"""Filters one after the other: each sees what those before it have kept, and every drop is counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from agentbank_jax.bank.outcome import Drop
from agentbank_jax.presentation.table import Table
from agentbank_jax.trajectories.schema import Trajectory


@runtime_checkable
class Filter(Protocol):
    """Judges each trajectory by itself; picklable, so that worker processes can run it."""

    def check(self, trajectory: Trajectory) -> Drop | None:
        """Returns why the trajectory is to be left out, or None. The same in every process."""

    def facts(self) -> Mapping[str, Any]:
        """All that the verdicts depend on, as JSON values; `filter` is its name."""


@runtime_checkable
class BankFilter(Protocol):
    """Judges trajectories by each other."""

    def check_all(self, trajectories: Sequence[Trajectory]) -> list[Drop | None]:
        """Returns a verdict for each trajectory, in their order, on which alone it depends."""

    def facts(self) -> Mapping[str, Any]:
        """As of `Filter`."""


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """What filters have made of trajectories.

    Fields:
      kept: those that all filters let pass, in their order.
      drops: the others, filter by filter, in their order.
      counts: drops by (filter, reason); a filter that dropped nothing has none.
      seen: by filter, how many trajectories it was given.
    """

    kept: tuple[Trajectory, ...]
    drops: tuple[Drop, ...]
    counts: Mapping[tuple[str, str], int]
    seen: Mapping[str, int]

    def table(self) -> Table:
        """A row for each filter and reason: how many were seen, and how many dropped."""
        rows = []
        for name, seen in self.seen.items():
            reasons = {reason: count for (each, reason), count in self.counts.items() if each == name}
            for reason, count in (reasons or {"-": 0}).items():
                rows.append((name, reason, f"{seen:,}", f"{count:,}"))
        return Table(title="Filters", columns=("filter", "reason", "seen", "dropped"), rows=tuple(rows))


def apply_filters(trajectories: Sequence[Trajectory], filters: Sequence[Filter | BankFilter]) -> Filtered:
    """Applies filters in their order; each trajectory is kept, or dropped by the first filter that objects.

    Args:
      trajectories: of a bank, in its order.
      filters: of either kind; their names must differ.
    """
    kept = list(trajectories)
    drops: list[Drop] = []
    counts: Counter[tuple[str, str]] = Counter()
    seen: dict[str, int] = {}
    for each in filters:
        name = str(each.facts()["filter"])
        assert name not in seen, f"two filters are called '{name}'"
        seen[name] = len(kept)
        verdicts = each.check_all(kept) if isinstance(each, BankFilter) else [each.check(one) for one in kept]
        for verdict in verdicts:
            if verdict is not None:
                drops.append(verdict)
                counts[name, verdict.reason] += 1
        kept = [one for one, verdict in zip(kept, verdicts, strict=True) if verdict is None]
    return Filtered(kept=tuple(kept), drops=tuple(drops), counts=dict(counts), seen=seen)


def text_of(trajectory: Trajectory) -> str:
    """All that is said, a turn after the other."""
    return "\n".join(turn.content for turn in trajectory.turns)

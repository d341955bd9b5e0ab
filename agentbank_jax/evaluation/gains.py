"""What a model gained on its base, instance by instance, and how sure that is: bootstrap intervals over instances."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.intervals import percentile_interval, resampled_means
from agentbank_jax.evaluation.sheet import Cell, Row, Sheet


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A gain (model minus base), or what a player reaches alone.

    Fields:
      success, reward: means over instances, of the means over the episodes of each.
      success_interval, reward_interval: 95 %; None where all instances are alike, so that resampling has nothing to
        vary.
      instances: how many, in all tasks.
      tasks: 1, or how many a mean is over.
    """

    success: float
    reward: float
    success_interval: tuple[float, float] | None
    reward_interval: tuple[float, float] | None
    instances: int
    tasks: int


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """Mean success and reward in one task, and what they are in each resample."""

    means: Float[np.ndarray, "2"]
    draws: Float[np.ndarray, "resamples 2"]
    instances: int


class Gains:
    """What the players of a sheet reach, and what they gained on their bases.

    The difference of an instance is the mean over its episodes with the model minus that with the base, and the gain in
    a task is its mean over the instances that both played. Instances are resampled, all episodes of one together. In a
    mean over tasks each task is resampled by itself: the tasks are those of the benchmark, and no sample.

    Fields:
      bases: the base of each player that has one.
    """

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self.bases = {player.name: player.base for player in sheet.players if player.base is not None}
        self._alone: dict[tuple[str, str], _Sample] = {}
        self._gains: dict[tuple[str, str], _Sample] = {}
        for row in sheet.rows:
            self._add(row)

    def reached(self, player: str, row: Row) -> Estimate | None:
        """What a player reaches in one task; None where nothing counts."""
        sample = self._alone.get((player, row.name))
        return None if sample is None else _estimate([sample])

    def task(self, player: str, row: Row) -> Estimate | None:
        """The gain in one task; None where model and base have no instance in common."""
        sample = self._gains.get((player, row.name))
        return None if sample is None else _estimate([sample])

    def mean(self, player: str, *, held_out: bool, skill: str | None = None) -> Estimate | None:
        """The mean gain over the tasks that count for both; None where there is none."""
        samples = [
            self._gains[player, row.name]
            for row in self._sheet.counting(player, held_out=held_out, skill=skill)
            if (player, row.name) in self._gains and not self.is_contaminated(player, row)
        ]
        return _estimate(samples) if samples else None

    def is_contaminated(self, player: str, row: Row) -> bool:
        """Whether player or base was trained on a held-out task."""
        return any(row.cells[name].contaminated for name in (player, self.bases[player]) if name in row.cells)

    def mean_reached(self, player: str, *, held_out: bool, skill: str | None = None) -> Estimate | None:
        """The mean of what a player reaches over the tasks that count for it."""
        rows = self._sheet.counting(player, held_out=held_out, skill=skill)
        return _estimate([self._alone[player, row.name] for row in rows]) if rows else None

    def _add(self, row: Row) -> None:
        """Resamples a task: once for all who played the same instances."""
        played = {name: _by_instance(cell) for name, cell in row.cells.items() if cell.played}
        wanted: dict[tuple[int, ...], list[tuple[str, bool, Float[np.ndarray, "instances 2"]]]] = defaultdict(list)
        for name, ours in played.items():
            indices = tuple(sorted(ours))
            wanted[indices].append((name, False, np.array([ours[index] for index in indices])))
            theirs = played.get(self.bases.get(name, ""), {})
            if shared := tuple(sorted(ours.keys() & theirs.keys())):
                gained = np.array([ours[index] for index in shared]) - np.array([theirs[index] for index in shared])
                wanted[shared].append((name, True, gained))
        for indices, kinds in wanted.items():
            draws = resampled_means(np.concatenate([values for _, _, values in kinds], axis=1), row.name)
            for place, (name, is_gain, values) in enumerate(kinds):
                sample = _Sample(
                    means=values.mean(0), draws=draws[:, 2 * place : 2 * place + 2], instances=len(indices)
                )
                (self._gains if is_gain else self._alone)[name, row.name] = sample


def _by_instance(cell: Cell) -> dict[int, tuple[float, float]]:
    """Success and reward of each instance that counts, means over its seeds."""
    episodes: dict[int, list[EpisodeRecord]] = defaultdict(list)
    for record in cell.records:
        if not record.trained_on:
            episodes[record.index].append(record)
    return {
        index: (sum(one.success for one in each) / len(each), sum(one.reward for one in each) / len(each))
        for index, each in episodes.items()
    }


def _estimate(samples: Sequence[_Sample]) -> Estimate:
    means = np.mean([one.means for one in samples], axis=0)
    draws = np.mean([one.draws for one in samples], axis=0)
    return Estimate(
        success=float(means[0]),
        reward=float(means[1]),
        success_interval=percentile_interval(draws[:, 0]),
        reward_interval=percentile_interval(draws[:, 1]),
        instances=sum(one.instances for one in samples),
        tasks=len(samples),
    )

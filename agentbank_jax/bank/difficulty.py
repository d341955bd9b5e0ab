"""Difficulty bias: whether what a bank keeps is as hard as what it was made from.

AgentBank's argument for annotating from known answers: a teacher whose successes alone are kept solves the easy
instances, and the bank gets easier than the task. Here the distributions of difficulty (hops, plan length, hardness of
SQL, level of a problem; whatever `Instance.difficulty` counts) stand side by side, with the total-variation distance of
each from the source's.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from agentbank_jax.errors import AgentBankError

RESAMPLES = 10_000
"""Of the bootstrap."""

KEPT, SUCCESS_ONLY = "kept", "success only"


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far a selection's difficulties are from the source's.

    Fields:
      selection: its name.
      size: instances in it.
      distance: total variation, half the sum of the differences of shares over all levels; 0 to 1.
      interval: 95 %, of a bootstrap over instances.
      means: mean difficulty of the source and of the selection.
      by_chance: what 95 % of selections of this size, drawn from the source at random, are no farther than.
    """

    selection: str
    size: int
    distance: float
    interval: tuple[float, float]
    means: tuple[float, float]
    by_chance: float


@dataclass(frozen=True, kw_only=True)
class DifficultyBias:
    """Distributions of one task.

    Fields:
      task: its name.
      part: which part of its source the figures are of, in words; empty for all of it.
      measure: what the difficulty counts, in words.
      levels: names of the levels, easy to hard.
      counts: by set (`source` first, then each selection), instances of each level.
      distances: of each selection.
    """

    task: str
    measure: str
    levels: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    distances: tuple[Distance, ...]
    part: str = ""

    @property
    def title(self) -> str:
        """The task, and the part."""
        return f"{self.task}, {self.part}" if self.part else self.task

    @property
    def constant(self) -> bool:
        """Whether all of the source is equally hard: distances mean nothing then."""
        return len(self.levels) < 2

    def tells(self, distance: Distance) -> bool:
        """Whether a distance means anything: the difficulty varies, and something was selected."""
        return not self.constant and distance.size > 0

    def shares(self, name: str) -> tuple[float, ...]:
        """The share of each level in a set; 0 throughout where it is empty."""
        total = sum(self.counts[name])
        return tuple(count / total if total else 0.0 for count in self.counts[name])

    @property
    def ratio(self) -> float | None:
        """The success-only distance over the kept one; infinite where the latter is 0.

        None where either is missing or tells nothing, or both are 0.
        """
        found = {each.selection: each.distance for each in self.distances if self.tells(each)}
        if KEPT not in found or SUCCESS_ONLY not in found or not any(found.values()):
            return None
        return found[SUCCESS_ONLY] / found[KEPT] if found[KEPT] else float("inf")

    def to_json(self) -> dict[str, Any]:
        """All figures as JSON values."""
        return {
            "task": self.task,
            "part": self.part,
            "constant": self.constant,
            "measure": self.measure,
            "levels": list(self.levels),
            "counts": {name: list(counts) for name, counts in self.counts.items()},
            "distances": [
                {
                    "selection": each.selection,
                    "size": each.size,
                    "total_variation": each.distance if self.tells(each) else None,
                    "interval_95": list(each.interval) if self.tells(each) else None,
                    "by_chance_95": each.by_chance if self.tells(each) else None,
                    "mean_difficulty": {"source": each.means[0], "selection": each.means[1] if each.size else None},
                }
                for each in self.distances
            ],
        }


def total_variation(one: Sequence[int], other: Sequence[int]) -> float:
    """Half the sum of the absolute differences of shares; 0 where both are alike, 1 where they share no level.

    Args:
      one, other: counts of the same levels. An empty set is as far as can be from one that is not.
    """
    return float(_distances(np.array([[*one]], np.float64), np.array([[*other]], np.float64))[0])


def difficulty_bias(
    difficulty: Mapping[str, int],
    selections: Mapping[str, Collection[str]],
    *,
    task: str,
    measure: str = "difficulty",
    part: str = "",
    most_levels: int = 8,
    resamples: int = RESAMPLES,
) -> DifficultyBias:
    """Compares selections of a source with it.

    Args:
      difficulty: of all instances of the source, by id.
      selections: ids by name, such as `KEPT` and `SUCCESS_ONLY`.
      task: names the source, and decides the bootstrap's chance.
      measure: what the difficulty counts, in words.
      part: which part of the task's source it is; empty for all of it.
      most_levels: neighbouring difficulties are put together until no more levels are left, as equally filled by the
        source as can be: with many levels of few instances, distances of chance would be large.
      resamples: of the bootstrap, which draws instances with replacement (Efron, 1979).

    Raises:
      AgentBankError: on an empty source, or a selection with an id that the source does not have.
    """
    if not difficulty:
        raise AgentBankError(f"{task}: no instance; expected at least one to compare with.")
    if most_levels < 2:
        raise AgentBankError(f"{task}: {most_levels} levels; expected at least 2.")
    ids = list(difficulty)
    for name, chosen in selections.items():
        foreign = next((each for each in chosen if each not in difficulty), None)
        if foreign is not None:
            raise AgentBankError(f"{task}: '{foreign}' is {name}, and not in the source; expected ids of the source.")
    values = np.array([difficulty[each] for each in ids], np.int64)
    starts = _level_starts(values, most_levels)
    level = np.searchsorted(starts, values, side="right") - 1
    members = {name: np.array([each in set_ for each in ids]) for name, set_ in _sets(selections).items()}
    counts = {"source": _tuple(_count(level, len(starts)))}
    counts |= {name: _tuple(_count(level[chosen], len(starts))) for name, chosen in members.items()}
    distances = tuple(
        Distance(
            selection=name,
            size=int(chosen.sum()),
            distance=total_variation(counts["source"], counts[name]),
            interval=_interval(level, chosen, len(starts), f"{task}/{name}", resamples),
            means=(float(values.mean()), float(values[chosen].mean()) if chosen.any() else float("nan")),
            by_chance=_by_chance(counts["source"], int(chosen.sum()), f"{task}/{name}", resamples),
        )
        for name, chosen in members.items()
    )
    return DifficultyBias(
        task=task,
        measure=measure,
        levels=_names(starts, int(values.max())),
        counts=counts,
        distances=distances,
        part=part,
    )


def _sets(selections: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    return {name: set(chosen) for name, chosen in selections.items()}


def _level_starts(values: Int[np.ndarray, " instances"], most: int) -> Int[np.ndarray, " levels"]:
    """The least difficulty of each level."""
    distinct, sizes = np.unique(values, return_counts=True)
    if len(distinct) <= most:
        return distinct
    starts, filled, total = [0], 0, len(values)
    for place, size in enumerate(sizes):
        if place and filled >= total * len(starts) / most and len(starts) < most:
            starts.append(place)
        filled += int(size)
    return distinct[starts]


def _names(starts: Int[np.ndarray, " levels"], greatest: int) -> tuple[str, ...]:
    ends = [*(int(start) - 1 for start in starts[1:]), greatest]
    return tuple(
        str(start) if start == end else f"{start} to {end}" for start, end in zip(starts.tolist(), ends, strict=True)
    )


def _count(level: Int[np.ndarray, " instances"], levels: int) -> Int[np.ndarray, " levels"]:
    return np.bincount(level, minlength=levels)


def _tuple(counts: Int[np.ndarray, " levels"]) -> tuple[int, ...]:
    return tuple(counts.tolist())


def _interval(
    level: Int[np.ndarray, " instances"], chosen: np.ndarray, levels: int, name: str, resamples: int
) -> tuple[float, float]:
    """What lies between the 2.5th and the 97.5th percentile of the resampled distances."""
    # Instances of one level that share a fate are alike, so that drawing them is drawing from these counts.
    cells = np.concatenate([_count(level[chosen], levels), _count(level[~chosen], levels)])
    chance = _chance(name)
    drawn = chance.multinomial(len(level), cells / cells.sum(), size=resamples).astype(np.float64)
    selected, others = drawn[:, :levels], drawn[:, levels:]
    low, high = np.quantile(_distances(selected + others, selected), (0.025, 0.975)).tolist()
    return low, high


def _by_chance(counts: Sequence[int], size: int, name: str, resamples: int) -> float:
    """The 95th percentile of the distances of so many instances drawn without replacement."""
    drawn = _chance(name).multivariate_hypergeometric(counts, size, resamples, method="marginals").astype(np.float64)
    source = np.broadcast_to(np.array(counts, np.float64), drawn.shape)
    return float(np.quantile(_distances(source, drawn), 0.95))


def _chance(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode("utf-8", "replace")))


def _distances(
    ones: Float[np.ndarray, "rows levels"], others: Float[np.ndarray, "rows levels"]
) -> Float[np.ndarray, " rows"]:
    sizes = ones.sum(axis=1, keepdims=True), others.sum(axis=1, keepdims=True)
    shares = [np.divide(found, size, out=np.zeros_like(found), where=size > 0) for found, size in
              zip((ones, others), sizes, strict=True)]  # fmt: skip
    distance = np.abs(shares[0] - shares[1]).sum(axis=1) / 2
    one_is_empty = (sizes[0] > 0)[:, 0] != (sizes[1] > 0)[:, 0]
    return np.where(one_is_empty, 1.0, distance)

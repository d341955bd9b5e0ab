"""Filters that compare trajectories with each other: of those that say the same, the first stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentbank_jax.bank.filters.pipeline import text_of
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.lint.duplicates import (
    THRESHOLD,
    Duplicate,
    exact_duplicates,
    exact_key,
    near_duplicates,
    shingles,
    signature,
)
from agentbank_jax.trajectories.lint.words import split_words
from agentbank_jax.trajectories.schema import Trajectory


@dataclass(frozen=True, kw_only=True)
class ExactDuplicateFilter:
    """Drops trajectories whose text an earlier one has, case and white space aside: `exact_duplicate`."""

    def check_all(self, trajectories: Sequence[Trajectory]) -> list[Drop | None]:
        keys = [exact_key(text_of(trajectory)) for trajectory in trajectories]
        return _verdicts(trajectories, exact_duplicates(keys), "exact_duplicate")

    def facts(self) -> Mapping[str, Any]:
        return {"filter": "exact_duplicates"}


@dataclass(frozen=True, kw_only=True)
class NearDuplicateFilter:
    """Drops trajectories in nearly the words of an earlier one, by MinHash: `near_duplicate`.

    Those of one generator are alike by design: give them a threshold that lets them pass, or no such filter. Memory:
    512 bytes a trajectory.

    Fields:
      threshold: the least estimated Jaccard similarity of the sets of five-word shingles.

    Raises:
      AgentBankError: where it is not between 0.5 and 1.
    """

    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold <= 1:
            raise AgentBankError(f"NearDuplicateFilter: threshold is {self.threshold}; expected 0.5 to 1.")

    def check_all(self, trajectories: Sequence[Trajectory]) -> list[Drop | None]:
        if not trajectories:
            return []
        signatures = np.stack([signature(shingles(split_words(text_of(one)))) for one in trajectories])
        return _verdicts(trajectories, near_duplicates(signatures, threshold=self.threshold), "near_duplicate")

    def facts(self) -> Mapping[str, Any]:
        return {"filter": "near_duplicates", "threshold": self.threshold}


def _verdicts(trajectories: Sequence[Trajectory], duplicates: Sequence[Duplicate], reason: str) -> list[Drop | None]:
    verdicts: list[Drop | None] = [None] * len(trajectories)
    for row, of, similarity in duplicates:
        detail = f"repeats {trajectories[of].id}, similarity {similarity:.2f}"
        verdicts[row] = Drop(id=trajectories[row].id, reason=reason, detail=detail)
    return verdicts

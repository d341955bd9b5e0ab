"""What becomes of a source item: a trajectory, or a drop with its reason."""

from dataclasses import dataclass

from agentbank_jax.trajectories.schema import Trajectory

DUPLICATE = "duplicate"


@dataclass(frozen=True, kw_only=True)
class Drop:
    """A source item that yields no trajectory: its id, the reason's short name, and details to look at."""

    id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One candidate's result.

    Fields:
      item: a trajectory, or why there is none.
      fingerprint: by which duplicates are known.
      difficulty: of the problem, whatever became of it.
    """

    item: Trajectory | Drop
    fingerprint: str
    difficulty: int = 1

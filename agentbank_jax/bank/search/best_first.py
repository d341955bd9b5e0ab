"""Breadth-first search and A*: both are `heuristic_search`, over states that a keeper brings back."""

import sys
from dataclasses import dataclass

from agentbank_jax.bank.search.heuristics import Heuristic, heuristic_called, zero
from agentbank_jax.bank.search.keeper import StateKeeper
from agentbank_jax.bank.search.searcher import Nothing, given_up
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.heuristic_search import heuristic_search
from agentbank_jax.environments.text_game import solution
from agentbank_jax.errors import AgentBankError


@dataclass(frozen=True, kw_only=True)
class BreadthFirst:
    """Tries states in the order of their distance from the start: finds a shortest solution."""

    @property
    def name(self) -> str:
        return "breadth-first"

    def find(self, keeper: StateKeeper) -> tuple[ExpertStep, ...] | Nothing:
        return _best_first(keeper, zero, path_weight=1.0, first_found=True)


@dataclass(frozen=True, kw_only=True)
class AStar:
    """Tries states in the order of the steps so far and those that are estimated to remain (Hart et al. 1968).

    Finds a shortest solution where the heuristic is never too much.

    Fields:
      heuristic: a name in `HEURISTICS`.
      path_weight: of the steps so far; 0 looks at the estimate alone, which is greedy best-first search.

    Raises:
      AgentBankError: on an unknown heuristic or a negative weight.
    """

    heuristic: str
    path_weight: float = 1.0

    def __post_init__(self) -> None:
        heuristic_called(self.heuristic)
        if self.path_weight < 0:
            raise AgentBankError(f"A*: path_weight is {self.path_weight}; expected 0 (greedy) or more.")

    @property
    def name(self) -> str:
        return f"A*, {self.heuristic}" if self.path_weight else f"greedy, {self.heuristic}"

    def find(self, keeper: StateKeeper) -> tuple[ExpertStep, ...] | Nothing:
        return _best_first(keeper, heuristic_called(self.heuristic), path_weight=self.path_weight, first_found=False)


def _best_first(
    keeper: StateKeeper, heuristic: Heuristic, *, path_weight: float, first_found: bool
) -> tuple[ExpertStep, ...] | Nothing:
    result = heuristic_search(
        keeper,
        actions=keeper.expand,
        heuristic=lambda: keeper.estimate(heuristic),
        max_expansions=sys.maxsize,  # the keeper's budget is in steps
        state_key=lambda: keeper.state.key,
        is_goal=lambda reward, terminated: keeper.state.reached,
        path_weight=path_weight,
        first_found=first_found,
        stop=keeper.spent,
    )
    keeper.duplicates = result.duplicates
    return given_up(keeper) if result.actions is None else tuple(solution(result.actions))

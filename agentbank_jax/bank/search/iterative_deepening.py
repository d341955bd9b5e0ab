"""Iterative deepening: depth-first searches, each one action deeper than the last (Korf 1985)."""

from collections.abc import Hashable
from dataclasses import dataclass

from agentbank_jax.bank.search.keeper import State, StateKeeper
from agentbank_jax.bank.search.searcher import Nothing, given_up
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.text_game import solution


@dataclass(frozen=True, kw_only=True)
class IterativeDeepening:
    """Finds a shortest solution, going straight on where it can: states that are replayed come cheaper than elsewhere.

    Within one search a state is tried again only where it is reached in fewer actions.
    """

    @property
    def name(self) -> str:
        return "iterative deepening"

    def find(self, keeper: StateKeeper) -> tuple[ExpertStep, ...] | Nothing:
        for limit in range(1, keeper.limit + 1):
            deepening = _Deepening(keeper, limit)
            goal = deepening.visit(keeper.start)
            if goal is not None:
                return tuple(solution(goal.actions()))
            if keeper.stopped or not deepening.cut:
                break
        return given_up(keeper)


class _Deepening:
    """One depth-first search; `cut` says whether it left out what lies deeper."""

    def __init__(self, keeper: StateKeeper, limit: int) -> None:
        self._keeper, self._limit = keeper, limit
        self._depths: dict[Hashable, int] = {keeper.start.key: 0}
        self.cut = False

    def visit(self, state: State) -> State | None:
        keeper = self._keeper
        keeper.restore(state)
        if keeper.spent():
            return None
        for action in keeper.expand():
            keeper.restore(state)
            if keeper.spent():
                return None
            successor = keeper.take(action)
            if successor.reached:
                return successor
            if successor.ended or successor.invalid:
                continue
            if self._depths.get(successor.key, self._limit + 1) <= successor.depth:
                keeper.duplicates += 1
                continue
            self._depths[successor.key] = successor.depth
            if successor.depth == self._limit:
                self.cut = True
                continue
            goal = self.visit(successor)
            if goal is not None or keeper.stopped:
                return goal
        return None

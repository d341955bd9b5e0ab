"""Search without a plan: valid actions at random, again and again from the start."""

import random
from dataclasses import dataclass

from agentbank_jax.bank.search.keeper import StateKeeper
from agentbank_jax.bank.search.searcher import Nothing, given_up
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.text_game import solution


@dataclass(frozen=True, kw_only=True)
class RandomWalk:
    """Plays at random until a play reaches the reward, or the budget is spent. Remembers nothing of earlier plays.

    Fields:
      seed: with the problem's id, decides the actions.
    """

    seed: int = 0

    @property
    def name(self) -> str:
        return "random"

    def find(self, keeper: StateKeeper) -> tuple[ExpertStep, ...] | Nothing:
        chance = random.Random(f"{self.seed}/{keeper.instance.id}")
        keeper.restore(keeper.start)
        while not keeper.spent():
            actions = keeper.expand()
            if not actions and keeper.state is keeper.start:
                break
            state = keeper.take(chance.choice(actions)) if actions else None
            if state is not None and state.reached:
                return tuple(solution(state.actions()))
            if state is None or state.ended or state.invalid:
                keeper.restore(keeper.start)
        return given_up(keeper)

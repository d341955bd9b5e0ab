"""Estimates of the steps that remain, by which searches are guided."""

from collections.abc import Callable
from typing import cast

from agentbank_jax.bank.search.keeper import State
from agentbank_jax.environments.base import TextEnvironment
from agentbank_jax.environments.household import HouseholdEnvironment
from agentbank_jax.environments.household_estimate import steps_to_goal
from agentbank_jax.errors import AgentBankError, did_you_mean

Heuristic = Callable[[TextEnvironment, State], float]

# A guess at the steps that a whole game's score takes.
_STEPS_OF_A_SCORE = 40.0


def zero(environment: TextEnvironment, state: State) -> float:
    """Knows nothing, and so is never too much."""
    return 0.0


def progress(environment: TextEnvironment, state: State) -> float:
    """The share of the reward that is still missing, as steps: a guess, which can be too many.

    For environments that give reward on the way.
    """
    return _STEPS_OF_A_SCORE * (1.0 - state.reward)


def household(environment: TextEnvironment, state: State) -> float:
    """`steps_to_goal`, of a household: never too many."""
    return steps_to_goal(cast(HouseholdEnvironment, environment).household)


HEURISTICS: dict[str, Heuristic] = {"zero": zero, "progress": progress, "household": household}


def heuristic_called(name: str) -> Heuristic:
    """Returns one of `HEURISTICS`.

    Raises:
      AgentBankError: where there is none of that name.
    """
    if name not in HEURISTICS:
        raise AgentBankError(f"no search heuristic is called '{name}'.{did_you_mean(name, HEURISTICS)}")
    return HEURISTICS[name]

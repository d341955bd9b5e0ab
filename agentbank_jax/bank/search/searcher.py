"""What a searcher is, and what is said of a search."""

from dataclasses import dataclass
from typing import Literal, Protocol

from agentbank_jax.bank.search.budget import Budget
from agentbank_jax.bank.search.keeper import StateKeeper, Unrepeatable
from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec

Reason = Literal["budget_steps", "budget_seconds", "exhausted", "unrepeatable", "no_plan"]


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Why a search found no actions.

    Fields:
      reason: `budget_steps` or `budget_seconds`: given up; `exhausted`: every state within the limit
        of actions was tried, of those that their keys tell apart; `unrepeatable`: a state could not be brought back by
        replay; `no_plan`: the environment's own expert has no solution.
      detail: to look at.
    """

    reason: Reason
    detail: str = ""


class Searcher(Protocol):
    """Looks for actions that reach the reward; a picklable frozen dataclass, whose fields decide the result."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def find(self, keeper: StateKeeper) -> tuple[ExpertStep, ...] | Nothing:
        """Searches from `keeper.start`, within the keeper's budget."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What came of a search, and what it took.

    Fields:
      found: the steps, or why there are none.
      nodes: states whose actions were tried; a search that meets a state again counts it again.
      steps: calls of `step`, those of replays included.
      duplicates: states dropped since their key had been reached in as few actions.
    """

    found: tuple[ExpertStep, ...] | Nothing
    nodes: int
    steps: int
    duplicates: int

    @property
    def actions(self) -> tuple[str, ...] | None:
        """What was found, or None."""
        return None if isinstance(self.found, Nothing) else tuple(step.action for step in self.found)


def search(
    searcher: Searcher,
    spec: EnvironmentSpec,
    instance: Instance,
    environment: TextEnvironment,
    *,
    budget: Budget,
    snapshots: bool | None = None,
    max_steps: int | None = None,
) -> Search:
    """Searches an environment for actions that solve a problem.

    Args:
      searcher: decides in which order states are tried.
      spec, instance, environment, budget, snapshots, max_steps: as of `StateKeeper`.

    Raises:
      AgentBankError: where the environment cannot list its valid actions.
    """
    keeper = StateKeeper(spec, instance, environment, budget=budget, snapshots=snapshots, max_steps=max_steps)
    try:
        found = searcher.find(keeper)
    except Unrepeatable as error:
        found = Nothing(reason="unrepeatable", detail=str(error))
    return Search(found=found, nodes=keeper.nodes, steps=keeper.steps, duplicates=keeper.duplicates)


def given_up(keeper: StateKeeper) -> Nothing:
    """What a searcher that has found nothing says: the budget has ended it, or there is nothing more to try."""
    return Nothing(reason=keeper.stopped or "exhausted")

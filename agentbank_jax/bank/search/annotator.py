"""Annotating by search: the actions of a problem are those that a searcher finds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.engine import close_engine, held_engine
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.search.budget import BUDGETS, Budget
from agentbank_jax.bank.search.searcher import Nothing, Search, Searcher, search
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError


@dataclass(frozen=True, kw_only=True)
class SearchAnnotator:
    """An `Annotator` for environments with a discrete action space.

    It searches in this process's `held_engine`, which stays for the next problem, and for a replay.

    Fields:
      searcher: what looks for the actions.
      budget: of each problem. With a limit in seconds the result depends on the machine.
      max_steps: the most actions of a solution, in place of the environment's limit and of those that its problems have
        of their own; None leaves those. A replay needs the same.

    Raises:
      AgentBankError: on a `max_steps` below 1.
    """

    searcher: Searcher
    budget: Budget = BUDGETS["standard"]
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_steps < 1:
            raise AgentBankError(f"search annotator: max_steps is {self.max_steps}; expected at least 1, or None.")

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        """As of `Annotator`. A drop's reason is one of `Nothing`'s; its detail says what was spent."""
        environment = held_engine(spec)
        try:
            result = search(self.searcher, spec, instance, environment, budget=self.budget, max_steps=self.max_steps)
        except Exception:
            close_engine()
            raise
        if isinstance(result.found, Nothing):
            return Drop(id=instance.id, reason=result.found.reason, detail=self._detail(result.found, result))
        cost: dict[str, float] = {
            "nodes_expanded": result.nodes,
            "steps": result.steps,
            "duplicates": result.duplicates,
        }
        if self.budget.seconds is not None:
            cost["budget_seconds"] = self.budget.seconds
        return ActionSequence(steps=result.found, method="heuristic_search", cost=cost)

    def facts(self) -> Mapping[str, Any]:
        """As of `Annotator`."""
        return {
            "searcher": type(self.searcher).__name__,
            "settings": asdict(self.searcher),  # type: ignore[call-overload]
            "budget": asdict(self.budget),
            "max_steps": self.max_steps,
        }

    def _detail(self, nothing: Nothing, result: Search) -> str:
        if nothing.reason == "budget_seconds":  # how far it came is the machine's
            return f"{self.searcher.name}: {self.budget.seconds:g} seconds"
        spent = f"{self.searcher.name}: {result.nodes:,} nodes expanded, {result.steps:,} steps"
        return f"{spent}; {nothing.detail}" if nothing.detail else spent

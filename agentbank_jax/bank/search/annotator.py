"""Annotating by search: the actions of a problem are those that a searcher finds."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.search.budget import BUDGETS, Budget
from agentbank_jax.bank.search.searcher import Nothing, Search, Searcher, search
from agentbank_jax.environments.base import Instance, TextEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec


@dataclass(frozen=True, kw_only=True)
class SearchAnnotator:
    """An `Annotator` for environments with a discrete action space.

    The engine stays from one problem to the next, since some take seconds to start; another kind takes its place.

    Fields:
      searcher: what looks for the actions.
      budget: of each problem. With a limit in seconds the result depends on the machine.
    """

    searcher: Searcher
    budget: Budget = BUDGETS["standard"]

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        """As of `Annotator`. A drop's reason is one of `Nothing`'s; its detail says what was spent."""
        environment = _ENGINE.of(spec)
        try:
            result = search(self.searcher, spec, instance, environment, budget=self.budget)
        except Exception:
            _ENGINE.close()
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
        }

    def _detail(self, nothing: Nothing, result: Search) -> str:
        if nothing.reason == "budget_seconds":  # how far it came is the machine's
            return f"{self.searcher.name}: {self.budget.seconds:g} seconds"
        spent = f"{self.searcher.name}: {result.nodes:,} nodes expanded, {result.steps:,} steps"
        return f"{spent}; {nothing.detail}" if nothing.detail else spent


class _Engine:
    """One engine for one problem after the other, of this process."""

    def __init__(self) -> None:
        self._kind: tuple[str, str] | None = None
        self._environment: TextEnvironment | None = None

    def of(self, spec: EnvironmentSpec) -> TextEnvironment:
        # A specification that was sent to a worker process is another object each time.
        kind = (spec.name, spec.protocol)
        if self._environment is None or self._kind != kind:
            self.close()
            self._environment, self._kind = spec.make(), kind
        return self._environment

    def close(self) -> None:
        environment, self._environment = self._environment, None
        if environment is not None:
            with contextlib.suppress(Exception):  # it may be broken already
                environment.close()


_ENGINE = _Engine()

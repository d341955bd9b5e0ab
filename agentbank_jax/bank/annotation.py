"""What annotating means: a problem gets the actions that solve it, and then a Thought for each.

The two are apart, as in AgentBank: an annotator finds actions (by searching the environment, by a language model that
knows the answer, or from steps that the data hold), a rationale writer words Thoughts for actions that it cannot
change, and `replay` is the judge of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.registry import EnvironmentSpec

Method = Literal["heuristic_search", "answer_forcing", "reformatting", "derived"]


@dataclass(frozen=True, kw_only=True)
class ActionSequence:
    """Actions that solve a problem.

    Fields:
      steps: in order; their intents and slots are what templates of Thoughts know of them.
      method: how they were found.
      thoughts: what the source itself says before each step; None where it says nothing.
      cost: what finding them took, such as `nodes_expanded`, `steps`, `seconds`, `tokens`; for reports.
    """

    steps: tuple[ExpertStep, ...]
    method: Method
    thoughts: tuple[str | None, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)


class Annotator(Protocol):
    """Finds actions; picklable, so that worker processes can run it."""

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        """Returns actions, or why there are none. The same for the same instance, in every process."""

    def facts(self) -> Mapping[str, Any]:
        """All that the result depends on, as JSON values."""


class RationaleWriter(Protocol):
    """Words Thoughts; picklable."""

    def write(
        self, spec: EnvironmentSpec, instance: Instance, sequence: ActionSequence, observations: Sequence[str]
    ) -> tuple[str, ...] | Drop:
        """Returns a Thought for each step, or why there are none.

        Args:
          spec, instance: the problem.
          sequence: its actions, which stay as they are.
          observations: what the environment said before each step; the first is the problem's.
        """

    def facts(self) -> Mapping[str, Any]:
        """As of `Annotator`."""

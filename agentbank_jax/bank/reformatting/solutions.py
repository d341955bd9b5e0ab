"""GSM8K's worked solutions, as an annotator; what it finds is what `bank.gsm8k` converts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank import gsm8k
from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.gsm8k_rows import Problem
from agentbank_jax.environments.math_problems import MathProblem
from agentbank_jax.environments.registry import EnvironmentSpec


@dataclass(frozen=True, kw_only=True)
class SolutionReformatter:
    """Reads calculations and Thoughts off a worked solution; drops are those of `gsm8k.solve`.

    Fields:
      seed: chooses the wording where the solution has none.
    """

    seed: int = 0

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        payload: MathProblem = instance.payload
        _, split, number = instance.id.split("/")
        problem = Problem(
            split=split,
            number=int(number),
            question=payload.question,
            solution=payload.solution,
            answer=payload.answer.text,
        )
        solved = gsm8k.solve(problem, seed=self.seed)
        return solved if isinstance(solved, Drop) else solved.sequence

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "worked_solution", "seed": self.seed}

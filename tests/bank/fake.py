"""A recipe that needs no environment: numbers, some of them dropped, some of them twice."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.filters.pipeline import BankFilter
from agentbank_jax.bank.outcome import Drop, Outcome
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.trajectories.schema import Trajectory, Turn


@dataclass(frozen=True, kw_only=True)
class CountingRecipe(Recipe):
    """Every seventh candidate is dropped; every fifth repeats the one before it."""

    task: str = "counting"
    wanted: int | None = 90
    candidates: int | None = None
    shard_rows: int | None = 20
    chunk: int = 8
    bank_filters: tuple[BankFilter, ...] = ()
    seed: int = 0
    seconds_per_candidate: float = 0.0
    fails: bool = False

    def parameters(self) -> Mapping[str, Any]:
        return {"task": self.task, "trajectories": self.wanted, "seed": self.seed, "shard_rows": self.shard_rows}

    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        if self.fails:
            raise RuntimeError("no candidate should be made")
        return [self._outcome(number) for number in range(start, stop)]

    def _outcome(self, number: int) -> Outcome:
        time.sleep(self.seconds_per_candidate)
        identifier = f"{self.task}/train/{number}"
        fingerprint = f"{number - (number % 5 == 4):064x}"[::-1]
        if number % 7 == 6:
            drop = Drop(id=identifier, reason="seventh", detail=str(number))
            return Outcome(item=drop, fingerprint=fingerprint, difficulty=number % 3)
        turns = (Turn.user(f"{number}?"), Turn.assistant(f"Thought: I count.\nFinal Answer: {number + self.seed}"))
        metadata = {"reward": 1.0, "difficulty": number % 3, "seed": self.seed}
        trajectory = Trajectory(id=identifier, task=self.task, turns=turns, metadata=metadata)
        return Outcome(item=trajectory, fingerprint=fingerprint, difficulty=number % 3)

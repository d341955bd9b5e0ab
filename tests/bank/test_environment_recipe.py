"""A recipe's threads, and the engine that they share."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.household import HouseholdEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec
from tests.bank.made import recipe_of


@dataclass(frozen=True, kw_only=True)
class SlowRationales:
    """Waits as for a server, and says how many observations there were."""

    def write(
        self, spec: EnvironmentSpec, instance: Instance, sequence: ActionSequence, observations: Sequence[str]
    ) -> tuple[str, ...]:
        time.sleep(0.02)
        return tuple(f"{instance.id}, step {number} of {len(observations)}." for number in range(len(sequence.steps)))

    def facts(self) -> Mapping[str, Any]:
        return {"rationales": "slow"}


def test_threads_that_wait_for_thoughts_take_turns_at_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    step = HouseholdEnvironment.step

    def yielding(self: HouseholdEnvironment, action: str) -> Any:
        time.sleep(0.0002)  # lets another thread run
        return step(self, action)

    monkeypatch.setattr(HouseholdEnvironment, "step", yielding)
    alone = dataclasses.replace(recipe_of("starter_embodied"), rationales=SlowRationales())
    together = dataclasses.replace(alone, threads=8)
    began = time.monotonic()
    expected = alone.make(0, 40)
    between = time.monotonic()
    assert together.make(0, 40) == expected
    assert time.monotonic() - between < between - began

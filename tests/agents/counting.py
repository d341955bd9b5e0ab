"""A counting game: reach the target by adding 1 or 2, then say the sum. Small, but whole."""

import random
from collections.abc import Callable, Mapping
from typing import Any

from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec


def counting_instance(index: int, *, split: str = "test") -> Instance:
    return Instance(
        id=f"counting/{split}/{index}", fingerprint=f"{split}{index:04x}", payload={"target": 2 + index % 5}
    )


class CountingEnvironment(TextEnvironment):
    """`add 1` and `add 2` raise the sum; `Final Answer: <target>` at the target gives reward 1."""

    fail_at: str | None = None
    total = 0

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        if self.fail_at == "reset":
            raise RuntimeError("no world today")
        assert options is not None
        self.target = options["instance"].payload["target"]
        self.total = 0
        return f"Reach {self.target}.", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.fail_at == "step":
            raise RuntimeError("the engine broke")
        if action in ("add 1", "add 2"):
            self.total += int(action[-1])
            return f"The sum is {self.total}.", 0.0, False, False, {"invalid_action": False}
        if action.startswith("Final Answer:"):
            won = self.total == self.target and action == f"Final Answer: {self.target}"
            return "Right." if won else "Wrong.", float(won), True, False, {"invalid_action": False}
        return "Unknown action.", 0.0, False, False, {"invalid_action": True}

    def expert_steps(self) -> list[ExpertStep]:
        if self.fail_at == "expert_steps":
            raise RuntimeError("no expert")
        twos, ones = divmod(self.target, 2)
        actions = ["add 2"] * twos + ["add 1"] * ones + [f"Final Answer: {self.target}"]
        return [ExpertStep(action=action, intent="count") for action in actions]

    def valid_actions(self) -> list[str]:
        return ["add 1", "add 2", f"Final Answer: {self.total}"]

    def sample_action(self, rng: random.Random) -> str:
        return rng.choice(self.valid_actions())


class BrokenEnvironment(CountingEnvironment):
    def __init__(self, fail_at: str) -> None:
        self.fail_at = fail_at


def counting_spec(make: Callable[[], TextEnvironment] = CountingEnvironment, **changes: Any) -> EnvironmentSpec:
    """The game as an environment that is registered nowhere."""
    values: dict[str, Any] = {
        "name": "counting",
        "skill": "math",
        "action_space": "discrete",
        "max_steps": 10,
        "protocol": "counting/1",
        "instruction": "Count.",
        "make": make,
        "instance": lambda split, index: counting_instance(index, split=split),
    }
    return EnvironmentSpec(**(values | changes))

import dataclasses
import functools
from collections.abc import Callable

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.environments.registry import EnvironmentSpec
from tests.agents.counting import BrokenEnvironment, CountingEnvironment, counting_instance

COUNTING = EnvironmentSpec(
    name="counting",
    skill="math",
    action_space="discrete",
    max_steps=8,
    protocol="counting/1",
    instruction="Count.",
    make=CountingEnvironment,
    instance=lambda split, index: counting_instance(index, split=split),
)


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EnvironmentSpec]:
    """A registry of nothing but variants of the counting game, for one test."""
    monkeypatch.setattr(registry, "_SPECS", {})
    monkeypatch.setattr(registry, "_load", lambda: None)

    def add(**changes) -> EnvironmentSpec:
        return registry.register(dataclasses.replace(COUNTING, **changes))

    add()
    add(name="counting_far", held_out=True, skill="embodied")
    add(name="counting_absent", available=lambda: "the abacus is not installed")
    add(name="counting_broken", skill="web", make=functools.partial(BrokenEnvironment, "step"))
    return add

"""The filter that plays a trajectory's actions again, in a fresh environment."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.agents.react import ReAct
from agentbank_jax.bank.engine import held_engine
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import replay
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentRegistryError, EnvironmentSpec
from agentbank_jax.trajectories.schema import Trajectory

_OBSERVATION = "Observation: "


@dataclass(frozen=True, kw_only=True)
class ReplayFilter:
    """Drops trajectories that do not end as they say they did.

    The actions are read as an agent's replies are. Reasons: `no_reward` (the trajectory records none), `no_instance`
    (nothing is known of its problem), `no_action` (a turn without one), `other_observation`, `other_reward`, and those
    of `replay`, with `replay_` before them.

    Fields:
      observations: whether they must be those of the trajectory; without, the reward alone counts.
      max_steps: actions allowed in place of the environment's own limits.
    """

    observations: bool = True
    max_steps: int | None = None

    def check(self, trajectory: Trajectory) -> Drop | None:
        def drop(reason: str, detail: str) -> Drop:
            return Drop(id=trajectory.id, reason=reason, detail=detail)

        recorded = trajectory.metadata.get("reward")
        if not isinstance(recorded, int | float):
            return drop("no_reward", f"{recorded!r}")
        try:
            # A bank may hold several tasks of one environment.
            spec = registry.get(trajectory.id.partition("/")[0])
            instance = find_instance(spec, trajectory.id)
        except EnvironmentRegistryError as error:
            return drop("no_instance", str(error))
        agent = ReAct()
        actions = []
        for number, turn in enumerate(trajectory.turns):
            if turn.role == "assistant":
                parsed = agent.parse(turn.content)
                if parsed is None:
                    return drop("no_action", f"turn {number}: {turn.content[:80]!r}")
                actions.append(parsed.action)
        replayed = replay(spec, instance, actions, environment=held_engine(spec), max_steps=self.max_steps)
        if isinstance(replayed, Drop):
            return drop(f"replay_{replayed.reason}", replayed.detail)
        if not math.isclose(replayed.reward, recorded, abs_tol=1e-6):
            return drop("other_reward", f"{replayed.reward:g}; recorded {recorded:g}")
        if self.observations:
            told = [turn.content for turn in trajectory.turns if turn.role == "user"]
            for number, (ours, theirs) in enumerate(zip(replayed.observations, told, strict=True)):
                if theirs.removeprefix(_OBSERVATION if number else "") != ours:
                    return drop("other_observation", f"observation {number}: {ours[:80]!r}; recorded {theirs[:80]!r}")
        return None

    def facts(self) -> Mapping[str, Any]:
        return {"filter": "replay", "observations": self.observations, "max_steps": self.max_steps}


def find_instance(spec: EnvironmentSpec, identifier: str) -> Instance:
    """Returns the problem that an id such as `starter_math/train/17` or `hotpotqa/test/5a7…` names.

    Raises:
      EnvironmentRegistryError: where there is none, or its files are not there.
    """
    name, _, rest = identifier.partition("/")
    split, _, key = rest.partition("/")
    if name != spec.name or not key:
        raise EnvironmentRegistryError(f"id '{identifier}'; expected {spec.name}/SPLIT/NAME.")
    registry.check_split(split)
    size = spec.size(split)
    if size is None:
        if not key.isdecimal():
            raise EnvironmentRegistryError(f"id '{identifier}'; expected a number after {name}/{split}/.")
        return spec.instance(split, int(key))
    index = _numbers(spec, split, size, spec.instance(split, 0).fingerprint).get(identifier)
    if index is None:
        raise EnvironmentRegistryError(f"id '{identifier}'; no problem of {spec.name}'s {split} has it.")
    return spec.instance(split, index)


@functools.lru_cache(maxsize=32)
def _numbers(spec: EnvironmentSpec, split: str, size: int, first: str) -> dict[str, int]:
    """The number of each instance of a split, by its id; size and first fingerprint tell one folder from another."""
    return {spec.instance(split, index).id: index for index in range(size)}

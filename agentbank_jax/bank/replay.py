"""Actions played in a fresh environment: what it says to them, and whether they reach the reward."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, ExpertStep, Instance, TextEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.trajectories.schema import Turn


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What came of actions.

    Fields:
      observations: what the environment said before each action; the first is the problem's.
      reward: of the last action.
      final_observation: what it said to that.
    """

    observations: tuple[str, ...]
    reward: float
    final_observation: str


def begin(spec: EnvironmentSpec, instance: Instance, max_steps: int | None = None) -> TextEnvironment:
    """A fresh environment, set up with a problem; the caller closes it. `max_steps` is as of `reset_options`."""
    environment = spec.make()
    environment.reset(options=reset_options(instance, max_steps))
    return environment


def reset_options(instance: Instance, max_steps: int | None = None) -> dict[str, Any]:
    """What `reset` is given.

    Args:
      instance: the problem.
      max_steps: the most actions, in place of a limit that the problem has of its own; None leaves that.
    """
    return {"instance": instance} if max_steps is None else {"instance": instance, "max_steps": max_steps}


def expert_plan(spec: EnvironmentSpec, instance: Instance) -> list[ExpertStep]:
    """The steps that the environment itself knows of a problem."""
    environment = begin(spec, instance)
    try:
        return environment.expert_steps()
    finally:
        environment.close()


def replay(
    spec: EnvironmentSpec,
    instance: Instance,
    actions: Sequence[str],
    *,
    environment: TextEnvironment | None = None,
    max_steps: int | None = None,
) -> Replayed | Drop:
    """Plays actions from the start.

    Args:
      spec: the environment's kind.
      instance: the problem.
      actions: what `step` takes.
      environment: is reset and used; a fresh one is made, and closed, if None.
      max_steps: the most actions, in place of `spec.max_steps` and of a limit that the problem has of its own.

    Returns:
      What came of them, or why they are no solution: `no_plan`, `too_long` (more than the limit), `invalid_action`,
      `ended_early`, `not_rewarded` (below `spec.success_threshold`, or not ended).
    """

    def drop(reason: str, detail: str) -> Drop:
        return Drop(id=instance.id, reason=reason, detail=detail)

    if not actions:
        return drop("no_plan", "no actions were found")
    limit = max_steps or spec.max_steps
    if len(actions) > limit:
        return drop("too_long", f"{len(actions)} steps; {'at most' if max_steps else f'{spec.name} allows'} {limit}")
    played = environment or spec.make()
    try:
        observation, _ = played.reset(options=reset_options(instance, max_steps))
        observations, reward, ended = [observation], 0.0, False
        for position, action in enumerate(actions, start=1):
            if ended:
                return drop("ended_early", f"ended before step {position} of {len(actions)}")
            observation, reward, terminated, truncated, info = played.step(action)
            if info.get("invalid_action"):
                return drop("invalid_action", f"{action!r}: {observation}")
            ended = terminated or truncated
            observations.append(observation)
    finally:
        if environment is None:
            played.close()
    if reward < spec.success_threshold or not ended:
        return drop("not_rewarded", f"reward {reward:g}, {'ended' if ended else 'not ended'}")
    return Replayed(observations=tuple(observations[:-1]), reward=float(reward), final_observation=observations[-1])


def conversation(replayed: Replayed, thoughts: Sequence[str], actions: Sequence[str]) -> tuple[Turn, ...]:
    """The turns of a trajectory in the released layout: problem, Thought and Action, Observation, …"""
    turns: list[Turn] = []
    for position, (observation, thought, action) in enumerate(
        zip(replayed.observations, thoughts, actions, strict=True)
    ):
        turns.append(Turn.user(f"Observation: {observation}" if position else observation))
        label = "" if action.startswith(FINAL_ANSWER_PREFIX) else "Action: "
        turns.append(Turn.assistant(f"Thought: {thought}\n{label}{action}"))
    return tuple(turns)

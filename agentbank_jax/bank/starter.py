"""One starter trajectory: an instance, its expert's actions, Thoughts for them, and a replay."""

import random
from typing import Any

from agentbank_jax.bank import thoughts
from agentbank_jax.bank.outcome import Drop, Outcome
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.trajectories.schema import Trajectory, Turn

SOURCE = "agentbank_jax starter"

# A multiple of the number of templates of each intent, so that all are as frequent.
VOICES = 60

# How the actions were found, by action space: searched for, or derived from the known answer.
ANNOTATION = {"discrete": "heuristic_search", "continuous": "derived"}


def build_trajectory(
    spec: EnvironmentSpec, split: str, index: int, seed: int, *, templates: thoughts.Templates | None = None
) -> Outcome:
    """Makes the trajectory of one instance.

    The expert's actions are replayed in a fresh environment; the observations are the replay's.

    Args:
      spec: the family.
      split: `train` or `test`.
      index: which instance of the split.
      seed: chooses the voice of the Thoughts.
      templates: Thought templates by intent; None takes the family's own.

    Returns:
      The trajectory, whose reward is 1, or why there is none (`no_plan`, `too_long`,
      `invalid_action`, `ended_early`, `not_rewarded`); and the instance's fingerprint.

    Raises:
      ThoughtError: where a step cannot be worded.
    """
    if templates is None:
        templates = thoughts.templates_of(spec.name)
    instance = spec.instance(split, index)
    options = {"instance": instance}
    planner = spec.make()
    planner.reset(options=options)
    steps = planner.expert_steps()
    planner.close()

    def drop(reason: str, detail: str) -> Outcome:
        return Outcome(item=Drop(id=instance.id, reason=reason, detail=detail), fingerprint=instance.fingerprint)

    if not steps:
        return drop("no_plan", "the expert found no actions")
    if len(steps) > spec.max_steps:
        return drop("too_long", f"{len(steps)} steps; the family allows {spec.max_steps}")
    # A string seeds `Random` by its SHA-512, the same in every process.
    voice = random.Random(f"{seed}/{instance.id}").randrange(VOICES)
    environment = spec.make()
    try:
        observation, _ = environment.reset(options=options)
        turns = [Turn.user(observation)]
        reward, terminated = 0.0, False
        for position, step in enumerate(steps):
            if position:
                turns.append(Turn.user(f"Observation: {observation}"))
            label = "" if step.action.startswith(FINAL_ANSWER_PREFIX) else "Action: "
            thought = thoughts.word(templates, step, voice, spec.name)
            turns.append(Turn.assistant(f"Thought: {thought}\n{label}{step.action}"))
            if terminated:
                return drop("ended_early", f"ended before step {position + 1} of {len(steps)}")
            observation, reward, terminated, truncated, info = environment.step(step.action)
            if info.get("invalid_action"):
                return drop("invalid_action", f"{step.action!r}: {observation}")
            terminated = terminated or truncated
    finally:
        environment.close()
    if reward < 1.0 or not terminated:
        return drop("not_rewarded", f"reward {reward:g}, {'ended' if terminated else 'not ended'}")
    metadata: dict[str, Any] = {
        "skill": spec.skill,
        "source": SOURCE,
        "license": spec.licence,
        "reward": float(reward),
        "annotation": ANNOTATION[spec.action_space],
        "difficulty": instance.difficulty,
        "seed": seed,
    }
    trajectory = Trajectory(id=instance.id, task=spec.name, turns=tuple(turns), metadata=metadata)
    return Outcome(item=trajectory, fingerprint=instance.fingerprint)

"""One starter trajectory: an instance, its expert's actions, Thoughts for them, and a replay."""

import random
from typing import Any

from agentbank_jax.bank import thoughts
from agentbank_jax.bank.outcome import Drop, Outcome
from agentbank_jax.bank.replay import conversation, expert_plan, replay
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.trajectories.schema import Trajectory

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
    steps = expert_plan(spec, instance)
    actions = [step.action for step in steps]
    replayed = replay(spec, instance, actions)
    if isinstance(replayed, Drop):
        return Outcome(item=replayed, fingerprint=instance.fingerprint)
    # A string seeds `Random` by its SHA-512, the same in every process.
    voice = random.Random(f"{seed}/{instance.id}").randrange(VOICES)
    said = [thoughts.word(templates, step, voice, spec.name) for step in steps]
    metadata: dict[str, Any] = {
        "skill": spec.skill,
        "source": SOURCE,
        "license": spec.licence,
        "reward": replayed.reward,
        "annotation": ANNOTATION[spec.action_space],
        "difficulty": instance.difficulty,
        "seed": seed,
    }
    trajectory = Trajectory(
        id=instance.id, task=spec.name, turns=conversation(replayed, said, actions), metadata=metadata
    )
    return Outcome(item=trajectory, fingerprint=instance.fingerprint)

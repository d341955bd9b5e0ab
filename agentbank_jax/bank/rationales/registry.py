"""Which templates word the Thoughts of which environment."""

from agentbank_jax.bank.annotation import RationaleWriter
from agentbank_jax.bank.rationales.alfworld_steps import AlfworldRationales
from agentbank_jax.bank.rationales.game_rationales import GameRationales
from agentbank_jax.bank.rationales.template_rationales import TemplateRationales

_ALFWORLD = ("alfworld", "alfworld_generated")
_GAMES = ("textworld", "scienceworld")


def template_rationales(environment: str, *, seed: int = 0, keep_given: bool = True) -> RationaleWriter:
    """Returns the writer of an environment's Thoughts; no language model is needed.

    Args:
      environment: its name.
      seed: chooses the voice of each trajectory.
      keep_given: whether Thoughts that the source gives are kept; games have none.
    """
    if environment in _ALFWORLD:
        return AlfworldRationales(seed=seed, keep_given=keep_given)
    if environment in _GAMES or environment.startswith("textworld_express"):
        return GameRationales(seed=seed)
    return TemplateRationales(seed=seed, keep_given=keep_given)

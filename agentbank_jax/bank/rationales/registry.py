"""Which templates word the Thoughts of which environment."""

from agentbank_jax.bank.annotation import RationaleWriter
from agentbank_jax.bank.rationales.template_rationales import TemplateRationales


def template_rationales(environment: str, *, seed: int = 0, keep_given: bool = True) -> RationaleWriter:
    """Returns the writer of an environment's Thoughts; no language model is needed.

    Args:
      environment: its name.
      seed: chooses the voice of each trajectory.
      keep_given: whether Thoughts that the source gives are kept.
    """
    del environment
    return TemplateRationales(seed=seed, keep_given=keep_given)

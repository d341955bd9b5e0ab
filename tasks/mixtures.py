"""Mixtures of the declared tasks."""

from collections.abc import Iterable

from agentbank_jax.data.declarations import MixtureDeclaration, TaskDeclaration, declare_mixture
from agentbank_jax.data.samoyed import SamoyedConfig, declare_samoyed
from agentbank_jax.tasks import embodied, math, programming, reasoning, web

SKILLS = {"reasoning": reasoning, "math": math, "programming": programming, "web": web, "embodied": embodied}


def _once(name: str, tasks: Iterable[TaskDeclaration]) -> MixtureDeclaration:
    """Each trajectory of each task once in an epoch."""
    return declare_mixture(MixtureDeclaration(name=name, rates={task.name: 1.0 for task in tasks}))


STARTER = _once("starter", [module.STARTER for module in SKILLS.values()])

# Of problems that anyone can make, and GSM8K's.
OPEN = _once("open", [*(module.STARTER for module in SKILLS.values()), math.GSM8K, *embodied.OPEN])

# Of the released data: the paper's 16 tasks, those of each skill, and all 19 configs.
RELEASED = [task for module in SKILLS.values() for task in module.RELEASED]
AGENTBANK = _once("agentbank", RELEASED)
AGENTBANK_SKILLS = {skill: _once(f"agentbank_{skill}", module.RELEASED) for skill, module in SKILLS.items()}
AGENTBANK_ALL = _once("agentbank_all", [*RELEASED, *programming.EXTRA, *embodied.EXTRA])

# Their general conversations and code are the user's own files; a gin file says where, and at which rates.
SAMOYED = declare_samoyed(SamoyedConfig(), AGENTBANK)

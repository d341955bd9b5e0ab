"""The Thought templates that each starter family declares."""

import importlib
import random
from collections.abc import Mapping
from functools import cache

from agentbank_jax.environments import starter

Templates = Mapping[str, tuple[str, ...]]

# A multiple of the number of templates of each intent, so that all are as frequent.
VOICES = 60


def voice_of(identifier: str, seed: int) -> int:
    """The one voice that speaks through the trajectory of an instance: which of an intent's templates is taken."""
    # A string seeds `Random` by its SHA-512, the same in every process.
    return random.Random(f"{seed}/{identifier}").randrange(VOICES)


@cache
def templates_of(environment: str) -> Templates:
    """Returns the Thought templates of a starter family by intent; none of other environments.

    They are the constant `THOUGHTS` of the module that declares the family.
    """
    for name in starter.MODULES:
        module = importlib.import_module(f"{starter.__name__}.{name}")
        if environment in {spec.name for spec in module.SPECS}:
            return getattr(module, "THOUGHTS", {})
    return {}

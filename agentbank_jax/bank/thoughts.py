"""The Thought templates that each starter family declares."""

import importlib
from collections.abc import Mapping
from functools import cache

from agentbank_jax.environments import starter

Templates = Mapping[str, tuple[str, ...]]

# A multiple of the number of templates of each intent, so that all are as frequent.
VOICES = 60


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

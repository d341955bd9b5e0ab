"""Interaction trajectories into agents: the bank, the trainer and the arena, in JAX.

The names below load on first use, so `import agentbank_jax` costs nothing.

    from agentbank_jax import Trajectory, Turn
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment
    from agentbank_jax.errors import AgentBankError
    from agentbank_jax.trajectories.schema import Trajectory, Turn

_HOMES = {
    "AgentBankError": "agentbank_jax.errors",
    "ExpertStep": "agentbank_jax.environments.base",
    "Instance": "agentbank_jax.environments.base",
    "TextEnvironment": "agentbank_jax.environments.base",
    "Trajectory": "agentbank_jax.trajectories.schema",
    "Turn": "agentbank_jax.trajectories.schema",
}

__all__ = ["AgentBankError", "ExpertStep", "Instance", "TextEnvironment", "Trajectory", "Turn", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'agentbank_jax' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)

"""The starter families: generators of instances that need no download."""

import importlib

# In the order of the skills; a module declares `SPECS`, the trained family first.
MODULES = ("reasoning", "math", "programming", "web", "embodied", "bash")

_registered = False


def register_all() -> None:
    """Registers every starter family; a second call does nothing."""
    global _registered
    if _registered:
        return
    from agentbank_jax.environments import registry

    for module in MODULES:
        registry.register_all(importlib.import_module(f"{__name__}.{module}").SPECS)
    _registered = True

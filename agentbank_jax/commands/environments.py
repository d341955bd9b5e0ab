"""Environments whose data the user names, registered from what gin holds."""

from functools import cache

from agentbank_jax.data.declarations import get_task
from agentbank_jax.environments import gsm8k, registry


@cache
def _gsm8k_problems() -> gsm8k.Problems:
    """Registers GSM8K once in the life of the process."""
    problems = gsm8k.Problems(gsm8k.Gsm8kConfig())
    registry.register(gsm8k.make_spec(problems, instruction=get_task(gsm8k.NAME).resolve_instruction()))
    return problems


def register_configured(gsm8k_config: gsm8k.Gsm8kConfig) -> None:
    """Makes GSM8K an environment over the configured file; a later call names another file."""
    _gsm8k_problems().path = gsm8k_config.path()

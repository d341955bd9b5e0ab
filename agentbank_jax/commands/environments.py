"""Environments whose data the user names, registered from what gin holds."""

from functools import lru_cache

from agentbank_jax.data.declarations import get_task
from agentbank_jax.environments import gsm8k, registry


@lru_cache(maxsize=1)
def _gsm8k(config: gsm8k.Gsm8kConfig) -> None:
    registry.register(gsm8k.make_spec(config, instruction=get_task(gsm8k.NAME).resolve_instruction()))


def register_configured(gsm8k_config: gsm8k.Gsm8kConfig) -> None:
    """Registers GSM8K over the configured file; the same configuration again is no error."""
    _gsm8k(gsm8k_config)

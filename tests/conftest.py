"""What holds for all tests."""

from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing of the claim.
settings.register_profile("agentbank_jax", deadline=None)
settings.load_profile("agentbank_jax")

"""Mixtures of the declared tasks."""

from agentbank_jax.data.declarations import MixtureDeclaration, declare_mixture
from agentbank_jax.tasks import agentbank, embodied, math, programming, reasoning, web

STARTER = declare_mixture(
    MixtureDeclaration(
        name="starter",
        rates={
            task.name: 1.0
            for task in (reasoning.STARTER, math.STARTER, programming.STARTER, web.STARTER, embodied.STARTER)
        },
    )
)

# Each released trajectory once in an epoch, as the data is published.
AGENTBANK = declare_mixture(MixtureDeclaration(name="agentbank", rates={task.name: 1.0 for task in agentbank.RELEASED}))

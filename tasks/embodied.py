"""Tasks of the skill `embodied`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task

STARTER = declare_task(
    TaskDeclaration(
        name="starter_embodied",
        skill="embodied",
        action_space="discrete",
        environment="starter_embodied",
        remedy="make it with: python scripts/build_bank.py",
    )
)

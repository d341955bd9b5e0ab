"""Tasks of the skill `web`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task

STARTER = declare_task(
    TaskDeclaration(
        name="starter_web",
        skill="web",
        action_space="discrete",
        environment="starter_web",
        remedy="make it with: python scripts/build_bank.py",
    )
)

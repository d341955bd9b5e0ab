"""Tasks of the skill `reasoning`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task

STARTER = declare_task(
    TaskDeclaration(
        name="starter_reasoning",
        skill="reasoning",
        action_space="continuous",
        environment="starter_reasoning",
        remedy="make it with: python scripts/build_bank.py",
    )
)

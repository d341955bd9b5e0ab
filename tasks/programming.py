"""Tasks of the skill `programming`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task

STARTER = declare_task(
    TaskDeclaration(
        name="starter_programming",
        skill="programming",
        action_space="continuous",
        environment="starter_programming",
        remedy="make it with: python scripts/build_bank.py",
    )
)

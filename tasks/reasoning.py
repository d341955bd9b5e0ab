"""Tasks of the skill `reasoning`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.tasks.released import declare_released

STARTER = declare_task(
    TaskDeclaration(
        name="starter_reasoning",
        skill="reasoning",
        action_space="continuous",
        environment="starter_reasoning",
        remedy="make it with: python scripts/build_bank.py",
    )
)

# Acting happens in the environments of the same names, so the instructions are the same.
RELEASED = (
    declare_released(
        "hotpotqa",
        skill="reasoning",
        action_space="continuous",
        environment="hotpotqa",
        rows=4273,
    ),
    declare_released(
        "strategyqa",
        skill="reasoning",
        action_space="continuous",
        environment="strategyqa",
        rows=1267,
        verified=False,
    ),
    declare_released(
        "triviaqa",
        skill="reasoning",
        action_space="continuous",
        environment="triviaqa",
        rows=4134,
    ),
)

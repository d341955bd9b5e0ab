"""Tasks of the skill `programming`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.tasks.released import declare_released

STARTER = declare_task(
    TaskDeclaration(
        name="starter_programming",
        skill="programming",
        action_space="continuous",
        environment="starter_programming",
        remedy="make it with: python scripts/build_bank.py",
    )
)

RELEASED = (
    declare_released(
        "intercode_sql",
        skill="programming",
        action_space="continuous",
        environment="intercode_sql",
        rows=4522,
    ),
    declare_released(
        "apps",
        skill="programming",
        action_space="continuous",
        environment="apps",
        rows=4408,
    ),
    declare_released(
        "humaneval",
        skill="programming",
        action_space="continuous",
        environment="humaneval",
        rows=132,
        # HumanEval has no training split: the rows are of its test problems.
        spoils=("humaneval",),
    ),
    declare_released(
        "mbpp",
        skill="programming",
        action_space="continuous",
        environment="mbpp",
        rows=648,
    ),
)

# Released beside the 16 tasks of the paper.
EXTRA = (
    declare_released(
        "intercode_bash",
        skill="programming",
        action_space="continuous",
        environment="intercode_bash",
        rows=200,
        # One of the held-out evaluations.
        spoils=("intercode_bash",),
    ),
    declare_released(
        "mbpp_before",
        skill="programming",
        action_space="continuous",
        # The tasks of mbpp, before some were left out.
        environment="mbpp",
        rows=707,
    ),
)

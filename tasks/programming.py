"""Tasks of the skill `programming`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.environments.instructions import FORM
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

_PROGRAM = f"Write a Python program for the task. {FORM} The action is a block of Python code."

RELEASED = (
    declare_released(
        "intercode_sql",
        skill="programming",
        action_space="continuous",
        instruction=f"Answer the question from a database. {FORM} The action is a block of SQL, or submit when the "
        "result is right.",
        rows=4522,
    ),
    declare_released(
        "apps",
        skill="programming",
        action_space="continuous",
        instruction=_PROGRAM,
        rows=4408,
    ),
    declare_released(
        "humaneval",
        skill="programming",
        action_space="continuous",
        instruction=_PROGRAM,
        rows=132,
        # HumanEval has no training split: the rows are of its test problems.
        spoils=("humaneval",),
    ),
    declare_released(
        "mbpp",
        skill="programming",
        action_space="continuous",
        instruction=_PROGRAM,
        rows=648,
    ),
)

# Released beside the 16 tasks of the paper.
EXTRA = (
    declare_released(
        "intercode_bash",
        skill="programming",
        action_space="continuous",
        instruction=f"Do the task in a Bash shell. {FORM} The action is a block of Bash, or submit when the task is "
        "done.",
        rows=200,
        # One of the held-out evaluations.
        spoils=("intercode_bash",),
    ),
    declare_released(
        "mbpp_before",
        skill="programming",
        action_space="continuous",
        instruction=_PROGRAM,
        rows=707,
    ),
)

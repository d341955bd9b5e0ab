"""Tasks of the skill `embodied`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.environments.instructions import FORM
from agentbank_jax.tasks.released import declare_released

STARTER = declare_task(
    TaskDeclaration(
        name="starter_embodied",
        skill="embodied",
        action_space="discrete",
        environment="starter_embodied",
        remedy="make it with: python scripts/build_bank.py",
    )
)

RELEASED = (
    declare_released(
        "alfworld",
        skill="embodied",
        action_space="discrete",
        environment="alfworld",
        rows=3321,
    ),
    declare_released(
        "rearrange",
        skill="embodied",
        action_space="discrete",
        environment="rearrange",
        rows=299,
    ),
    declare_released(
        "iqa",
        skill="embodied",
        action_space="discrete",
        environment="iqa",
        rows=None,
        verified=False,
    ),
)

# Released beside the 16 tasks of the paper.
EXTRA = (
    declare_released(
        "alfred",
        skill="embodied",
        action_space="discrete",
        instruction=f"Reach the goal in the household. {FORM} The action is one step, such as move_ahead.",
        rows=623,
    ),
)

"""Tasks of the skill `embodied`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.environments.instructions import FORM
from agentbank_jax.environments.textworld_express import GAMES as EXPRESS_GAMES
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

# Made by `gin/bank/open.gin`.
OPEN = tuple(
    declare_task(
        TaskDeclaration(
            name=name,
            skill="embodied",
            action_space="discrete",
            environment=name,
            remedy=f"make it with: python scripts/build_bank.py --gin_file=bank/open.gin --task={name}",
        )
    )
    for name in ("alfworld_generated", "textworld", *(f"textworld_express_{game}" for game in EXPRESS_GAMES))
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

"""Tasks of the skill `reasoning`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.environments.instructions import FINAL, FORM
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

_SEARCH = f"Answer the question. {FORM} The action is search[query]. {FINAL}"

RELEASED = (
    declare_released(
        "hotpotqa",
        skill="reasoning",
        action_space="continuous",
        instruction=_SEARCH,
        rows=4273,
    ),
    declare_released(
        "strategyqa",
        skill="reasoning",
        action_space="continuous",
        instruction=_SEARCH,
        rows=1267,
        verified=False,
    ),
    declare_released(
        "triviaqa",
        skill="reasoning",
        action_space="continuous",
        instruction=_SEARCH,
        rows=4134,
    ),
)

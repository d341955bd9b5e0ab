"""Tasks of the skill `web`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.tasks.released import declare_released

STARTER = declare_task(
    TaskDeclaration(
        name="starter_web",
        skill="web",
        action_space="discrete",
        environment="starter_web",
        remedy="make it with: python scripts/build_bank.py",
    )
)

RELEASED = (
    declare_released(
        "mind2web",
        skill="web",
        action_space="discrete",
        environment="mind2web",
        rows=7770,
    ),
    declare_released(
        "webarena",
        skill="web",
        action_space="discrete",
        environment="webarena",
        rows=661,
        verified=False,
    ),
    declare_released(
        "webshop",
        skill="web",
        action_space="discrete",
        environment="webshop",
        rows=5315,
        verified=False,
    ),
)

"""Tasks of the skill `math`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.tasks.released import declare_released

STARTER = declare_task(
    TaskDeclaration(
        name="starter_math",
        skill="math",
        action_space="continuous",
        environment="starter_math",
        remedy="make it with: python scripts/build_bank.py",
    )
)

# Acting happens in the same calculator, so the instruction is the same.
GSM8K = declare_task(
    TaskDeclaration(
        name="gsm8k",
        skill="math",
        action_space="continuous",
        environment="gsm8k",
        # Of the released config, after a secondary source.
        expected_rows=7385,
        verified=False,
        remedy="make it from GSM8K's published file with: python scripts/build_bank.py --task=gsm8k "
        "--input=train.jsonl, or put the config gsm8k of the dataset Solaris99/AgentBank there",
    )
)

RELEASED = (
    GSM8K,
    declare_released("mathqa", skill="math", action_space="continuous", environment="mathqa", rows=4000),
    declare_released("math", skill="math", action_space="continuous", environment="math", rows=2273),
)

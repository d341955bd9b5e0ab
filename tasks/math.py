"""Tasks of the skill `math`."""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task

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
        environment="starter_math",
        remedy="make it from GSM8K's published file with: python scripts/build_bank.py --task=gsm8k "
        "--input=train.jsonl, or put the config gsm8k of the dataset Solaris99/AgentBank there",
    )
)

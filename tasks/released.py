"""What the tasks of the released AgentBank data share: where they come from, and the words of their instructions.

Rows, skills and action spaces stand with each task, after the dataset's page (Hugging Face,
`Solaris99/AgentBank`, Apache-2.0); `verified=False` marks counts that were not read at the source. The released rows
carry no instruction, so each task adds one of this project's own wording, for the action syntax of its rows: that of
its environment, so that training and acting use the same text, or one of its own.
"""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task

REMEDY = "download it with: hf download Solaris99/AgentBank --repo-type dataset --local-dir {data_dir}"


def declare_released(
    name: str,
    *,
    skill: str,
    action_space: str,
    environment: str | None = None,
    instruction: str | None = None,
    rows: int | None,
    verified: bool = True,
    spoils: tuple[str, ...] = (),
) -> TaskDeclaration:
    """Declares a config of the released data; see `TaskDeclaration` for the fields."""
    return declare_task(
        TaskDeclaration(
            name=name,
            skill=skill,
            action_space=action_space,
            environment=environment,
            instruction=instruction,
            expected_rows=rows,
            verified=verified,
            spoils=spoils,
            remedy=REMEDY,
        )
    )

"""Thoughts for the steps of an expert, worded by the templates that each family declares."""

import importlib
from collections.abc import Mapping
from functools import cache

from agentbank_jax.environments import starter
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.errors import AgentBankError, did_you_mean

Templates = Mapping[str, tuple[str, ...]]


class ThoughtError(AgentBankError):
    """A step for which no Thought can be worded."""


@cache
def templates_of(task: str) -> Templates:
    """Returns the Thought templates of a starter family by intent.

    They are the constant `THOUGHTS` of the module that declares the family.

    Raises:
      ThoughtError: where no starter module declares `task`.
    """
    known: list[str] = []
    for name in starter.MODULES:
        module = importlib.import_module(f"{starter.__name__}.{name}")
        specs = [spec.name for spec in module.SPECS]
        if task in specs:
            return getattr(module, "THOUGHTS", {})
        known += specs
    raise ThoughtError(f"no starter family is called '{task}'.{did_you_mean(task, known)}")


def word(templates: Templates, step: ExpertStep, voice: int, task: str) -> str:
    """Words the Thought before a step.

    Args:
      templates: Thought templates by intent.
      step: intent and slots choose and fill the template; the action is not looked at.
      voice: which of an intent's templates is taken. One voice speaks through a whole trajectory, as one
        annotator would: what follows its first Thought is then not a matter of chance.
      task: the family's name, for messages.

    Raises:
      ThoughtError: where the family has no template for the intent, or a slot has no value.
    """
    choices = templates.get(step.intent)
    if not choices:
        raise ThoughtError(
            f"{task}: no Thought template for intent '{step.intent}'.{did_you_mean(step.intent, templates)}"
        )
    template = choices[voice % len(choices)]
    try:
        text = template.format_map(step.slots)
    except KeyError as error:
        raise ThoughtError(
            f"{task}: the Thought template {template!r} of intent '{step.intent}' needs the slot {error}; "
            f"the step has {', '.join(sorted(step.slots)) or 'none'}."
        ) from None
    return text[:1].upper() + text[1:]

"""Thoughts by templates, for every environment's actions: no language model needed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank import thoughts
from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.registry import EnvironmentSpec

NO_RATIONALE = "no_rationale"

_FENCED = re.compile(r"```(\w*)\s")

# By intent, or by `intent/language` where the action is a fenced block. An intent's templates are tried in the order of
# the voice; those whose slots a step lacks are passed over.
GENERIC: dict[str, tuple[str, ...]] = {
    "answer": (
        "Now I know enough to answer.",
        "I have what I need, so I can answer.",
        "That settles the question.",
        "This is all that I need for the answer.",
        "Nothing more is needed; I can answer.",
        "I can answer now.",
    ),
    "calculate": (
        "Next I compute {expression}.",
        "I need the value of {expression}.",
        "Now I calculate {expression}.",
        "Let me work out {expression}.",
        "What is needed next is {expression}.",
        "I compute {expression} first, then go on.",
    ),
    "search": (
        "I need to know about {query}.",
        "I search for {query}.",
        "Let me look up {query}.",
        "Next I look for {query}.",
        "What I can find about {query} should help.",
        "I should read about {query}.",
    ),
    "solve/sql": (
        "I can ask the database for this with one query.",
        "One query answers the question.",
        "Let me write the query that gives this.",
        "The tables hold this, so I write a query.",
        "I turn the question into a query.",
        "A query on the tables gives what is asked for.",
    ),
    "solve/bash": (
        "I can do this with one command.",
        "One command does what is asked.",
        "Let me write the command for this.",
        "The shell can do this directly.",
        "I turn the task into a command.",
        "A single command line is enough here.",
    ),
    "solve/python": (
        "I write a program that does what is asked.",
        "Let me write the function.",
        "I turn the description into a program.",
        "A short program solves this.",
        "I know what the program must do, so I write it.",
        "Now I write the program.",
    ),
    "submit": (
        "The result is what was asked for, so I submit it.",
        "This is the result. I submit it.",
        "That is what the task wants; I submit.",
        "Nothing is missing, so I submit.",
        "The output answers the question, so I submit it.",
        "I am done and submit.",
    ),
    "click": (
        "I need '{element}', so I click it.",
        "Next I click '{element}'.",
        "The element for this is '{element}'.",
        "'{element}' brings me on.",
        "Let me click '{element}'.",
        "What the task needs now is '{element}'.",
    ),
    "type": (
        "I type '{value}' into '{element}'.",
        "Next I fill '{element}' with '{value}'.",
        "'{element}' has to hold '{value}'.",
        "The task says '{value}', which belongs into '{element}'.",
        "Let me enter '{value}' into '{element}'.",
        "Now '{value}' goes into '{element}'.",
    ),
    "select": (
        "I choose '{value}' in '{element}'.",
        "Next I set '{element}' to '{value}'.",
        "'{element}' has to be '{value}'.",
        "The task says '{value}', so I choose it in '{element}'.",
        "Let me pick '{value}' in '{element}'.",
        "Now I select '{value}' in '{element}'.",
    ),
}

# For an intent without templates: actions of games and pages are orders, `open the door`.
_ANY = (
    "Next: {action}.",
    "The next step is this: {action}.",
    "What I do now is: {action}.",
    "To get on: {action}.",
    "Now: {action}.",
    "This is what is needed next: {action}.",
)
_ANY_LONGEST = 120


@dataclass(frozen=True, kw_only=True)
class TemplateRationales:
    """A `RationaleWriter` by templates.

    A step's intent chooses its templates: those that a starter family declares, else `templates`, else `GENERIC`, else
    wordings that say the action itself where that is one line of at most 120 characters. One voice speaks through a
    trajectory, chosen by its id. A Thought that the source gives (`ActionSequence.thoughts`) stays, if `keep_given`.

    The reason of a drop is `no_rationale`: a step that no template fits.

    Fields:
      seed: chooses the voice.
      templates: by intent, or by `intent/language` of a fenced block; before the generic ones.
      keep_given: whether the source's own Thoughts are kept; else all are worded anew.
    """

    seed: int = 0
    templates: Mapping[str, tuple[str, ...]] | None = None
    keep_given: bool = True

    def facts(self) -> Mapping[str, Any]:
        templates = {name: list(wordings) for name, wordings in (self.templates or {}).items()}
        return {
            "rationales": "templates",
            "seed": self.seed,
            "keep_given": self.keep_given,
            "templates": templates,
            "generic": {name: list(wordings) for name, wordings in (*GENERIC.items(), ("", _ANY))},
        }

    def write(
        self, spec: EnvironmentSpec, instance: Instance, sequence: ActionSequence, observations: Sequence[str]
    ) -> tuple[str, ...] | Drop:
        """See `RationaleWriter`; observations are not looked at."""
        del observations
        voice = thoughts.voice_of(instance.id, self.seed)
        templates = {**GENERIC, **(self.templates or {}), **thoughts.templates_of(spec.name)}
        said = []
        for step, given in zip(sequence.steps, given_thoughts(sequence), strict=True):
            thought = given if given and self.keep_given else word(templates, step, voice)
            if thought is None:
                detail = f"no template fits a step of intent '{step.intent}'"
                return Drop(id=instance.id, reason=NO_RATIONALE, detail=detail)
            said.append(thought)
        return tuple(said)


def given_thoughts(sequence: ActionSequence) -> tuple[str | None, ...]:
    """What the source says before each step; all None where it says nothing."""
    return sequence.thoughts or (None,) * len(sequence.steps)


def word(templates: thoughts.Templates, step: ExpertStep, voice: int) -> str | None:
    """Words the Thought before a step.

    Args:
      templates: by intent, or by `intent/language` of a fenced block.
      step: intent and slots choose and fill the template.
      voice: which of an intent's templates is tried first.

    Returns:
      The Thought; None where no template fits and the action is too long to be said.
    """
    fenced = _FENCED.match(step.action)
    names = (f"{step.intent}/{fenced[1].lower()}" if fenced else step.intent, step.intent)
    choices = next((templates[name] for name in names if name in templates), ())
    one_line = step.action if "\n" not in step.action and len(step.action) <= _ANY_LONGEST else None
    for wordings, slots in ((choices, step.slots), (_ANY if one_line else (), {"action": one_line or ""})):
        for offset in range(len(wordings)):
            template = wordings[(voice + offset) % len(wordings)]
            try:
                text = template.format_map(slots)
            except KeyError:
                continue
            return text[:1].upper() + text[1:]
    return None

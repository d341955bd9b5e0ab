"""The published answer of a problem, asked of any environment in the same way.

An environment says what the answer is by its expert's last step. What it says to whoever plays it stays as it was.
"""

import re
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from agentbank_jax.environments.answers import PublishedAnswer
from agentbank_jax.environments.base import Instance, TextEnvironment
from agentbank_jax.environments.turn_text import stated_answer

# One that holds something: some problems are published without a solution.
_BLOCK = re.compile(r"```\w*\n\s*(?!```)\S")


@dataclass(frozen=True, kw_only=True)
class KnownAnswer:
    """What a problem's environment accepts.

    Fields:
      kind: `stated`, the text of a final answer; or `program`, a fenced block that solves the problem.
      text: as the expert gives it.
      accepted: every text that means it, `text` first; what must not be said too early.
    """

    kind: Literal["stated", "program"]
    text: str
    accepted: tuple[str, ...]


@runtime_checkable
class _HasAnswers(Protocol):
    answers: tuple[str, ...]


@runtime_checkable
class _HasAnswer(Protocol):
    answer: object


def known_answer(environment: TextEnvironment, instance: Instance) -> KnownAnswer | None:
    """Returns the published answer of a problem, or None where its expert states none.

    It is what the expert's last step states, else the last block that the expert writes. Aliases are those of a payload
    with `answers`; of a choice among options, the value of the right one is an alias of its letter.

    Args:
      environment: is reset to the instance; reset it again before it is played.
      instance: the problem.
    """
    environment.reset(options={"instance": instance})
    steps = environment.expert_steps()
    stated = stated_answer(steps[-1].action) if steps else None
    if stated:
        return KnownAnswer(
            kind="stated", text=stated, accepted=tuple(dict.fromkeys((stated, *_aliases(instance.payload))))
        )
    blocks = [step.action for step in steps if _BLOCK.match(step.action)]
    return KnownAnswer(kind="program", text=blocks[-1], accepted=(blocks[-1],)) if blocks else None


def _aliases(payload: object) -> tuple[str, ...]:
    if isinstance(payload, _HasAnswers):
        return tuple(payload.answers)
    if isinstance(payload, _HasAnswer) and isinstance(payload.answer, PublishedAnswer):
        return tuple(value for letter, value in payload.answer.options if letter == payload.answer.text)
    return ()

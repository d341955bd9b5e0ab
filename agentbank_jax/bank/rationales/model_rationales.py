"""Thoughts by a language model, for actions that are there already.

One request for each step: the model is shown the conversation so far and the next action, never what comes after, so
that it cannot tell of it. What it writes is a Thought; the actions are put to it afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.forcing.replies import REACT, Rejection
from agentbank_jax.bank.forcing.teacher import CONTEXT_EXHAUSTED, REQUEST_REFUSED, TOKEN_BUDGET, Lesson, Teacher
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.rationales.template_rationales import NO_RATIONALE, given_thoughts
from agentbank_jax.bank.rationales.thought_check import check_thought
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.turn_text import stated_answer
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Turn

_VERSION = 1
# Another draw of the same request would meet the same end.
_NOT_REDRAWN = (CONTEXT_EXHAUSTED, REQUEST_REFUSED, TOKEN_BUDGET)

PROMPT = """Someone solves a task step by step. These are the rules of the task:

{instruction}

You are told what was said, done and observed so far, and the step that comes next. Write the thought that leads to \
that step: one or two sentences in the first person, which say why the step is taken, from the task and the \
observations so far alone. Foresee no observation. Write the thought and nothing else: no 'Action:', no \
'Observation:'."""

QUESTION = """So far:

{so_far}

The next step is:

{action}

Write the thought before it."""


@dataclass(frozen=True, kw_only=True)
class ModelRationales:
    """A `RationaleWriter` by a language model.

    A reply that is no Thought for its step (see `check_thought`) is drawn again, `attempts` times in all. The reason of
    a drop is `no_rationale`; its detail says at which step and why.

    Fields:
      teacher: the model.
      seed: decides the draws.
      attempts: at each Thought.
      shortest, longest: of a Thought, in characters.
      keep_given: whether the source's own Thoughts are kept, and only missing ones written.

    Raises:
      AgentBankError: a value out of range.
    """

    teacher: Teacher
    seed: int = 0
    attempts: int = 3
    shortest: int = 10
    longest: int = 600
    keep_given: bool = False

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise AgentBankError(f"model rationales: attempts={self.attempts}; expected at least 1.")
        if not 1 <= self.shortest <= self.longest:
            raise AgentBankError(
                f"model rationales: shortest={self.shortest}, longest={self.longest}; expected 1 ≤ shortest ≤ longest."
            )

    def facts(self) -> Mapping[str, Any]:
        return {
            "rationales": "model",
            "version": _VERSION,
            "teacher": dict(self.teacher.facts()),
            "prompts": [PROMPT, QUESTION],
            "seed": self.seed,
            "attempts": self.attempts,
            "shortest": self.shortest,
            "longest": self.longest,
            "keep_given": self.keep_given,
        }

    def write(
        self, spec: EnvironmentSpec, instance: Instance, sequence: ActionSequence, observations: Sequence[str]
    ) -> tuple[str, ...] | Drop:
        """See `RationaleWriter`.

        Raises:
          EndpointError, CallCacheError: as of `Lesson.ask`.
        """
        actions = [step.action for step in sequence.steps]
        answer = stated_answer(actions[-1]) if actions else None
        said: list[str] = []
        with self.teacher.lesson(spec.name) as lesson:
            for position, given in enumerate(given_thoughts(sequence)):
                if given and self.keep_given:
                    said.append(given)
                    continue
                thought = self._thought(lesson, spec, instance, position, actions, observations, said, answer)
                if isinstance(thought, Rejection):
                    detail = f"step {position + 1}: {thought.reason}, {thought.detail}"
                    return Drop(id=instance.id, reason=NO_RATIONALE, detail=detail)
                said.append(thought)
        return tuple(said)

    def _thought(
        self,
        lesson: Lesson,
        spec: EnvironmentSpec,
        instance: Instance,
        position: int,
        actions: Sequence[str],
        observations: Sequence[str],
        said: Sequence[str],
        answer: str | None,
    ) -> str | Rejection:
        turns = _request(spec, position, actions, observations, said)
        shown = [text for step in range(position) for text in (observations[step], said[step], actions[step])]
        shown.append(observations[position])
        rejection: Rejection | None = None
        for draw in range(self.attempts):
            reply = lesson.ask(turns, draw=f"{self.seed}/{instance.id}/{position}/{draw}")
            checked = (
                reply
                if isinstance(reply, Rejection)
                else check_thought(
                    reply,
                    action=actions[position],
                    shown=shown,
                    later=observations[position + 1 :],
                    answer=answer,
                    limits=(self.shortest, self.longest),
                )
            )
            if isinstance(checked, str):
                return checked
            rejection = checked
            if rejection.reason in _NOT_REDRAWN:
                break
        assert rejection is not None, "a Thought is drawn at least once"
        return rejection


def _request(
    spec: EnvironmentSpec, position: int, actions: Sequence[str], observations: Sequence[str], said: Sequence[str]
) -> tuple[Turn, ...]:
    lines = [observations[0]]
    for step in range(position):
        lines += [REACT.render(said[step], actions[step]), f"Observation: {observations[step + 1]}"]
    question = QUESTION.format(so_far="\n".join(lines), action=actions[position])
    return Turn.system(PROMPT.format(instruction=spec.instruction)), Turn.user(question)

"""The protocol that every environment follows: Gymnasium's signature, text in and text out."""

import abc
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import gymnasium

from agentbank_jax.errors import AgentBankError, did_you_mean

FINAL_ANSWER_PREFIX = "Final Answer:"

AnswerProtocol = Literal["exact", "mint"]
"""How a stated answer is compared with the published one: as the benchmark itself does, or with MINT's tolerances
(Wang et al. 2023, arXiv 2309.10691)."""

ANSWER_PROTOCOLS: tuple[AnswerProtocol, ...] = ("exact", "mint")


def check_answers(name: str) -> AnswerProtocol:
    """Returns `name` where it is one of `ANSWER_PROTOCOLS`.

    Raises:
      AgentBankError: where it is not.
    """
    if name not in ANSWER_PROTOCOLS:
        raise AgentBankError(f"answer protocol '{name}' does not exist.{did_you_mean(name, ANSWER_PROTOCOLS)}")
    return name


@dataclass(frozen=True, kw_only=True)
class ExpertStep:
    """One action of an expert, and why it is taken.

    Fields:
      action: what `step` accepts.
      intent: the kind of step, the key under which the bank finds Thought templates.
      slots: values that those templates may mention.
    """

    action: str
    intent: str
    slots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One problem for an environment: a world and a goal, both data, no live objects.

    Fields:
      id: unique within its family and split, such as `starter_math/test/17`.
      fingerprint: hexadecimal hash of world and goal; equal instances have equal fingerprints.
      payload: what the engine needs to set the problem up; picklable.
      difficulty: hops, plan length or the like; for reports.
    """

    id: str
    fingerprint: str
    payload: Any
    difficulty: int = 1


Payload = TypeVar("Payload")


def payload_of(options: Mapping[str, Any] | None, kind: type[Payload], name: str) -> Payload:
    """Returns what the instance holds that `reset` was given.

    Args:
      options: those of `reset`.
      kind: of payload that the environment plays.
      name: the environment's, for messages.

    Raises:
      AgentBankError: where `instance` is missing or has another payload.
    """
    instance = (options or {}).get("instance")
    found = instance.payload if isinstance(instance, Instance) else instance
    if isinstance(instance, Instance) and isinstance(found, kind):
        return found
    raise AgentBankError(
        f"{name}: reset got {type(found).__name__}; "
        f"expected options={{'instance': …}}, an Instance with a payload of {kind.__name__}."
    )


def answers_of(options: Mapping[str, Any] | None) -> AnswerProtocol:
    """Returns how answers are judged, of the options of `reset`; raises as `check_answers`."""
    return check_answers((options or {}).get("answers", "exact"))


def begun(problem: Payload | None, name: str) -> Payload:
    """Returns the problem that `reset` has set up.

    Raises:
      AgentBankError: where there is none.
    """
    if problem is None:
        raise AgentBankError(f"{name}: step before reset; call reset(options={{'instance': …}}) first.")
    return problem


def judged(right: bool, **figures: Any) -> tuple[str, float, bool, bool, dict[str, Any]]:
    """What `step` returns of a final answer: the episode ends with reward 1 where it is right, else 0.

    Args:
      right: whether it is.
      figures: the task's own, which join `info`.
    """
    info = {"invalid_action": False, "success": right, **figures}
    return ("Correct." if right else "Wrong."), float(right), True, False, info


class TextEnvironment(gymnasium.Env[str, str], abc.ABC):
    """An environment that speaks text.

    An action is the text after `Action:`; a final answer is passed whole, with its
    `Final Answer:` prefix. An action that cannot be understood or done is never an exception:
    its observation says what was wrong, `info['invalid_action']` is True, and the reward is 0.

    Observations carry no `Observation:` prefix; whoever writes the conversation adds it.
    """

    action_space: gymnasium.Space[str] = gymnasium.spaces.Text(max_length=1 << 16, charset=frozenset())
    observation_space: gymnasium.Space[str] = gymnasium.spaces.Text(max_length=1 << 16, charset=frozenset())

    @abc.abstractmethod
    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Sets up a problem and returns the first observation and info. It may be called again, for another problem.

        Args:
          seed: decides chance, where the environment has any.
          options: `instance`, an `Instance`; where an answer is judged, `answers`, an `AnswerProtocol` (`exact` where
            it is left out); and `max_steps`, in place of a limit that the problem has of its own.
        """

    @abc.abstractmethod
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Acts. Returns observation, reward in [-1, 1], terminated, truncated, info."""

    @abc.abstractmethod
    def expert_steps(self) -> list[ExpertStep]:
        """Steps that take the instance from its start to reward 1. Call after `reset`."""

    def valid_actions(self) -> list[str] | None:
        """All actions that are valid now, or None where they cannot be listed."""
        return None

    @abc.abstractmethod
    def sample_action(self, rng: random.Random) -> str:
        """A random action: uniform over `valid_actions()`, else over the action templates."""

"""One environment and what is asked of it: plain values in and out, so that it may live in another process."""

import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentbank_jax.environments.base import AnswerProtocol, ExpertStep, Instance, TextEnvironment


@dataclass(frozen=True, kw_only=True)
class Wants:
    """What a policy must know of an environment beside what it says.

    Fields:
      expert_steps: the expert's whole plan, with the first observation.
      valid_actions: the list of valid actions, where there is one, with each observation.
      random_action: an action drawn at random, with each observation.
    """

    expert_steps: bool = False
    valid_actions: bool = False
    random_action: bool = False


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Sets up a problem.

    Fields:
      kind: names the environment; one of the same kind is used again.
      make: makes it.
      instance, seed, answers, max_steps: of the problem; see `TextEnvironment.reset`.
      wants: what is told beside, now and after each action.
      draw: decides what is drawn at random.
    """

    kind: str
    make: Callable[[], TextEnvironment]
    instance: Instance
    seed: int = 0
    answers: AnswerProtocol = "exact"
    max_steps: int | None = None
    wants: Wants = field(default_factory=Wants)
    draw: str = ""


@dataclass(frozen=True, kw_only=True)
class Act:
    """Takes an action; `draw` as in `Begin`."""

    action: str
    draw: str = ""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the environment says: the values of `TextEnvironment.step` (those of `reset` with no reward), and what
    `Wants` asked for."""

    observation: str
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)
    expert_steps: tuple[ExpertStep, ...] | None = None
    valid_actions: tuple[str, ...] | None = None
    random_action: str | None = None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The environment broke; `error` says how."""

    error: str


class Held:
    """Keeps one environment, for one problem after the other; one of another kind takes its place."""

    def __init__(self) -> None:
        self._kind = ""
        self._environment: TextEnvironment | None = None
        self._wants = Wants()

    def answer(self, message: Begin | Act) -> Seen | Failed:
        """Does what is asked. Whatever the environment raises is its failure, and no one else's."""
        try:
            return self._begin(message) if isinstance(message, Begin) else self._act(message)
        except Exception as error:
            return Failed(error=f"{type(error).__name__}: {error}")

    def _begin(self, message: Begin) -> Seen:
        if self._environment is None or self._kind != message.kind:
            self.close()
            self._environment, self._kind = message.make(), message.kind
        self._wants = message.wants
        options: dict[str, Any] = {"instance": message.instance, "answers": message.answers}
        if message.max_steps is not None:
            options["max_steps"] = message.max_steps
        observation, info = self._environment.reset(seed=message.seed, options=options)
        _check_said(observation)
        steps = tuple(self._environment.expert_steps()) if self._wants.expert_steps else None
        return Seen(observation=observation, info=info, expert_steps=steps, **self._offers(message.draw))

    def _act(self, message: Act) -> Seen:
        assert self._environment is not None
        observation, reward, terminated, truncated, info = self._environment.step(message.action)
        _check_said(observation, float(reward))
        return Seen(
            observation=observation,
            reward=float(reward),
            terminated=terminated,
            truncated=truncated,
            info=info,
            **({} if terminated or truncated else self._offers(message.draw)),
        )

    def _offers(self, draw: str) -> dict[str, Any]:
        assert self._environment is not None
        offers: dict[str, Any] = {}
        if self._wants.valid_actions:
            actions = self._environment.valid_actions()
            offers["valid_actions"] = None if actions is None else tuple(actions)
        if self._wants.random_action:
            # A string seeds by its SHA-512, the same in every process and Python version.
            offers["random_action"] = self._environment.sample_action(random.Random(draw))
        return offers

    def close(self) -> None:
        """Frees what the environment holds; an error in that undoes no result."""
        environment, self._environment = self._environment, None
        if environment is not None:
            with contextlib.suppress(Exception):
                environment.close()


def _check_said(observation: object, reward: float = 0.0) -> None:
    """Raises where an environment says what `TextEnvironment` does not: it would be in every mean of a report."""
    if not isinstance(observation, str):
        raise TypeError(f"the observation is {type(observation).__name__}; expected str")
    # Those who add up parts may miss 1 by a rounding.
    if not abs(reward) <= 1.0 + 1e-9:
        raise ValueError(f"the reward is {reward}; expected -1 to 1")

"""Who writes the assistant turns: a model, chance, or the expert. All over one code path."""

import abc
import random
from dataclasses import dataclass
from typing import Literal, Protocol

from agentbank_jax.agents.react import ReAct
from agentbank_jax.environments.base import ExpertStep, TextEnvironment
from agentbank_jax.trajectories.schema import Turn


@dataclass(frozen=True, kw_only=True)
class Request:
    """A conversation that waits for an assistant turn.

    Fields:
      episode_id: unique among the episodes under way; a policy may keep state under it.
      turns: the whole conversation; it ends with a user turn.
      environment: the live environment, for policies that look at it (never a model).
      seed: decides chance, together with the episode's id.
    """

    episode_id: str
    turns: tuple[Turn, ...]
    environment: TextEnvironment
    seed: int


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An assistant turn.

    Fields:
      text: what was written.
      tokens: how many tokens the model generated for it, stop token included.
      ended: why no further turn can follow, if so: the context is full, or the environment
        failed to tell what the policy had to know. `text` may then be cut off or empty.
      error: the environment's error, where there was one.
    """

    text: str
    tokens: int = 0
    ended: Literal["context_exhausted", "environment_error"] | None = None
    error: str | None = None


class Policy(Protocol):
    """Writes assistant turns for many conversations at once.

    A reply depends on its request alone, never on the others that are under way.
    """

    @property
    def name(self) -> str:
        """What results are listed under."""

    @property
    def capacity(self) -> int:
        """How many episodes may be under way at once."""

    def submit(self, request: Request) -> None:
        """Takes a request; an episode has at most one at a time."""

    def collect(self) -> list[tuple[str, Reply]]:
        """Returns (episode id, reply) of those that are ready: at least one where any was submitted."""

    def release(self, episode_id: str) -> None:
        """Forgets an episode; its place may be given to another."""


class ImmediatePolicy(abc.ABC):
    """A policy whose replies need no company: subclasses write one at a time."""

    def __init__(self, *, name: str, capacity: int = 64, agent: ReAct | None = None) -> None:
        self.name = name
        self.capacity = capacity
        self._agent = agent or ReAct()
        self._waiting: list[Request] = []

    @abc.abstractmethod
    def reply(self, request: Request) -> Reply:
        """Writes one assistant turn."""

    def submit(self, request: Request) -> None:
        self._waiting.append(request)

    def collect(self) -> list[tuple[str, Reply]]:
        waiting, self._waiting = self._waiting, []
        return [(request.episode_id, self.reply(request)) for request in waiting]

    def release(self, episode_id: str) -> None:
        self._waiting = [request for request in self._waiting if request.episode_id != episode_id]


class RandomPolicy(ImmediatePolicy):
    """Actions drawn by `TextEnvironment.sample_action`: uniform over the valid ones."""

    def __init__(self, *, name: str = "random", capacity: int = 64, agent: ReAct | None = None) -> None:
        super().__init__(name=name, capacity=capacity, agent=agent)
        self._rngs: dict[str, random.Random] = {}

    def reply(self, request: Request) -> Reply:
        rng = self._rngs.get(request.episode_id)
        if rng is None:
            # A string seeds by its SHA-512, the same in every process and Python version.
            rng = self._rngs[request.episode_id] = random.Random(f"{request.seed}/{request.episode_id}")
        try:
            action = request.environment.sample_action(rng)
        except Exception as error:  # whatever an engine raises is its own failure, not the sweep's
            return environment_failed(error)
        return Reply(text=self._agent.render("I act at random.", action))

    def release(self, episode_id: str) -> None:
        super().release(episode_id)
        self._rngs.pop(episode_id, None)


class OraclePolicy(ImmediatePolicy):
    """The expert's actions, one by one; a measure of the environments, not of a model."""

    def __init__(self, *, name: str = "oracle", capacity: int = 64, agent: ReAct | None = None) -> None:
        super().__init__(name=name, capacity=capacity, agent=agent)
        self._plans: dict[str, list[ExpertStep]] = {}

    def reply(self, request: Request) -> Reply:
        plan = self._plans.get(request.episode_id)
        if plan is None:
            try:
                plan = list(request.environment.expert_steps())
            except Exception as error:  # as above
                return environment_failed(error)
            self._plans[request.episode_id] = plan
        if not plan:
            return Reply(text="Thought: The expert has no further step.")
        step = plan.pop(0)
        return Reply(text=self._agent.render(f"Expert step: {step.intent}.", step.action))

    def release(self, episode_id: str) -> None:
        super().release(episode_id)
        self._plans.pop(episode_id, None)


def environment_failed(error: Exception) -> Reply:
    """The reply that ends an episode whose environment did not tell what the policy had to know."""
    return Reply(text="", ended="environment_error", error=f"{type(error).__name__}: {error}")

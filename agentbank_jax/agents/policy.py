"""Who writes the assistant turns: a model, chance, or the expert. All over one code path."""

import abc
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agentbank_jax.agents.agent import Agent, Purpose
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.held import Wants
from agentbank_jax.trajectories.schema import Turn

EXPERT_STEP = "Expert step: "
"""How each Thought of the oracle begins: it stands for a reason, and gives none."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A conversation that waits for an assistant turn.

    Fields:
      conversation: unique among those under way; a policy may keep state under it. A request with the name of an
        earlier one goes on where the reply to that ended.
      turns: the whole conversation; it ends with a user turn.
      purpose: what the turn is for.
      seed: decides chance, together with the conversation's name.
      agent: who asks, and how it writes actions.
      task: the environment's name.
      episode: the episode's id.
      instance_id: of the problem.
      trial: which trial of the episode it is, from 1.
      expert_steps: the expert's plan from the start, where the policy `wants` it.
      valid_actions, random_action: of the environment as it is now, where the policy `wants` them.
    """

    conversation: str
    turns: tuple[Turn, ...]
    agent: Agent
    purpose: Purpose = "act"
    seed: int = 0
    task: str = ""
    episode: str = ""
    instance_id: str = ""
    trial: int = 1
    expert_steps: tuple[ExpertStep, ...] | None = None
    valid_actions: tuple[str, ...] | None = None
    random_action: str | None = None

    def draw(self, seed: int, size: int) -> int:
        """A seed for the reply, of `size` bytes: the same in every process, from what names the reply."""
        name = f"{seed}/{self.seed}/{self.conversation}/{len(self.turns)}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:size])

    def written(self, steps: tuple[tuple[str, str], ...]) -> str:
        """(Thought, action) pairs as the agent reads them: all of them in a plan, else the first."""
        if self.purpose == "plan":
            return self.agent.render_plan(steps)
        return self.agent.render(*steps[0])


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An assistant turn.

    Fields:
      text: what was written.
      tokens: how many tokens the model generated for it, stop token included.
      prompt_tokens: how many tokens the conversation before it has.
      ended: why no further turn can follow, if so: the context is full, or the policy has nothing to reply. `text` may
        then be cut off or empty.
      figures: what the policy measured so far in the conversation; recorded with the episode.
    """

    text: str
    tokens: int = 0
    prompt_tokens: int = 0
    ended: Literal["context_exhausted", "no_reply"] | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class Policy(Protocol):
    """Writes assistant turns for many conversations at once.

    A reply depends on its request alone, never on the others that are under way.
    """

    @property
    def name(self) -> str:
        """What results are listed under."""

    @property
    def capacity(self) -> int:
        """How many conversations may be under way at once."""

    @property
    def wants(self) -> Wants:
        """What requests must tell of the environment."""

    def submit(self, request: Request) -> None:
        """Takes a request; a conversation has at most one at a time."""

    def collect(self) -> list[tuple[str, Reply]]:
        """Does one round of work and returns (conversation, reply) of those that are ready, which may be none."""

    def release(self, conversation: str) -> None:
        """Forgets a conversation; its place may be given to another."""


class ImmediatePolicy(abc.ABC):
    """A policy whose replies need no company: subclasses write one at a time."""

    wants = Wants()

    def __init__(self, *, name: str, capacity: int = 64) -> None:
        self.name = name
        self.capacity = capacity
        self._waiting: list[Request] = []

    @abc.abstractmethod
    def reply(self, request: Request) -> Reply:
        """Writes one assistant turn."""

    def submit(self, request: Request) -> None:
        self._waiting.append(request)

    def collect(self) -> list[tuple[str, Reply]]:
        waiting, self._waiting = self._waiting, []
        return [(request.conversation, self.reply(request)) for request in waiting]

    def release(self, conversation: str) -> None:
        self._waiting = [request for request in self._waiting if request.conversation != conversation]


class RandomPolicy(ImmediatePolicy):
    """Actions drawn by `TextEnvironment.sample_action`: uniform over the valid ones."""

    wants = Wants(random_action=True)

    def __init__(self, *, name: str = "random", capacity: int = 64) -> None:
        super().__init__(name=name, capacity=capacity)

    def reply(self, request: Request) -> Reply:
        if request.purpose == "reflect":
            return Reply(text="I act at random.")
        assert request.random_action is not None
        return Reply(text=request.written((("I act at random.", request.random_action),)))


class OraclePolicy(ImmediatePolicy):
    """The expert's actions, one by one; a measure of the environments, not of a model."""

    wants = Wants(expert_steps=True)

    def __init__(self, *, name: str = "oracle", capacity: int = 64) -> None:
        super().__init__(name=name, capacity=capacity)
        self._taken: dict[str, int] = {}

    def reply(self, request: Request) -> Reply:
        if request.purpose == "reflect":
            return Reply(text="I follow the expert.")
        assert request.expert_steps is not None
        taken = self._taken.get(request.conversation, 0)
        steps = request.expert_steps[taken:]
        if not steps:
            return Reply(text="Thought: The expert has no further step.")
        if request.purpose == "plan" and len(steps) > 1:
            steps = steps[:-1]
        elif request.purpose != "plan":
            steps = steps[:1]
        self._taken[request.conversation] = taken + len(steps)
        return Reply(text=request.written(tuple((f"{EXPERT_STEP}{step.intent}.", step.action) for step in steps)))

    def release(self, conversation: str) -> None:
        super().release(conversation)
        self._taken.pop(conversation, None)

"""Episodes of registered environments, and policies that follow a script."""

from collections.abc import Callable, Iterable

from agentbank_jax.agents.agent import Agent
from agentbank_jax.agents.episode import Episode, Outcome
from agentbank_jax.agents.policy import ImmediatePolicy, Policy, Reply, Request
from agentbank_jax.agents.rollout import roll_out
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec


def episodes_of(spec: EnvironmentSpec, agent: Agent, count: int, *, split: str = "test") -> list[Episode]:
    """The first episodes of an environment."""

    def instance(index: int) -> Callable[[], Instance]:
        return lambda: spec.instance(split, index)

    return [
        Episode(id=f"{spec.name}/{split}/{index}/0", spec=spec, instance=instance(index), agent=agent)
        for index in range(count)
    ]


class Scripted(ImmediatePolicy):
    """Says one text after the other, in all trials of an episode together, and keeps what it was asked.

    An exception in their place is raised, and a `Reply` is given as it is.
    """

    def __init__(self, *texts: str | Reply | BaseException, capacity: int = 1) -> None:
        super().__init__(name="scripted", capacity=capacity)
        self._texts = list(texts)
        self.asked: list[Request] = []

    def reply(self, request: Request) -> Reply:
        self.asked.append(request)
        text = self._texts.pop(0)
        if isinstance(text, BaseException):
            raise text
        return text if isinstance(text, Reply) else Reply(text=text, tokens=10, prompt_tokens=100)

    @property
    def left(self) -> int:
        """Texts that were not said."""
        return len(self._texts)


def play_one(episode: Episode, policy: Policy, **options: int) -> Outcome:
    """Plays one episode."""
    (outcome,) = roll_out([episode], policy, **options)
    return outcome


def play_all(episodes: Iterable[Episode], policy: Policy) -> list[Outcome]:
    """Plays episodes in this process, in the order in which they end."""
    return list(roll_out(episodes, policy))

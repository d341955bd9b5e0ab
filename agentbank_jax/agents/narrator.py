"""A policy that tells what it reads and writes, so that an episode can be watched."""

from collections.abc import Callable

from agentbank_jax.agents.policy import Policy, Reply, Request
from agentbank_jax.trajectories.schema import Turn


class Narrator:
    """Acts as another policy does, and tells each turn as it comes.

    Args:
      policy: who acts.
      tell: called with the conversation's name and each turn, of the environment and of the policy.
    """

    def __init__(self, policy: Policy, tell: Callable[[str, Turn], None]) -> None:
        self.name, self.capacity, self.wants = policy.name, policy.capacity, policy.wants
        self._policy, self._tell = policy, tell
        self._told: dict[str, int] = {}

    def submit(self, request: Request) -> None:
        for turn in request.turns[self._told.get(request.conversation, 0) :]:
            self._tell(request.conversation, turn)
        # The reply that follows is told when it is there.
        self._told[request.conversation] = len(request.turns) + 1
        self._policy.submit(request)

    def collect(self) -> list[tuple[str, Reply]]:
        replies = self._policy.collect()
        for identifier, reply in replies:
            if reply.text:
                self._tell(identifier, Turn.assistant(reply.text))
        return replies

    def release(self, conversation: str) -> None:
        self._told.pop(conversation, None)
        self._policy.release(conversation)

"""What a trajectory is: turns of a conversation between an agent and an environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agentbank_jax.errors import AgentBankError

Role = Literal["system", "user", "assistant"]

ROLES: tuple[Role, ...] = ("system", "user", "assistant")


class TrajectoryError(AgentBankError):
    """A trajectory that breaks the schema; the message names it and the turn."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One message.

    Fields:
      role: who speaks; the environment speaks as `user`.
      content: the text, without any template markers.
      trained: whether the model learns to write it; assistant turns only.
      images: references to images shown with the text.
      speaker: the name of the agent where several speak.
    """

    role: Role
    content: str
    trained: bool = False
    images: tuple[str, ...] = ()
    speaker: str | None = None

    @classmethod
    def system(cls, content: str) -> "Turn":
        return cls(role="system", content=content)

    @classmethod
    def user(cls, content: str) -> "Turn":
        return cls(role="user", content=content)

    @classmethod
    def assistant(cls, content: str, *, trained: bool = True) -> "Turn":
        return cls(role="assistant", content=content, trained=trained)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """An interaction: an optional system turn, then user and assistant turns in alternation.

    Fields:
      id: unique within the task.
      task: the name of the task it belongs to, such as `starter_math`.
      turns: the conversation; it ends with an assistant turn.
      metadata: what else is known (skill, source, license, reward, annotation, seed, …).

    Raises:
      TrajectoryError: on an unknown role, a trained turn that is not the assistant's, roles
        out of order, or a conversation that does not end with the assistant.
    """

    id: str
    task: str
    turns: tuple[Turn, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"trajectory '{self.id}' of task '{self.task}'"
        if not self.turns:
            raise TrajectoryError(f"{where} has no turns; expected at least a user and an assistant turn.")
        for position, turn in enumerate(self.turns):
            if turn.role not in ROLES:
                raise TrajectoryError(
                    f"{where}, turn {position}: role {turn.role!r}; expected one of {', '.join(ROLES)}."
                )
            if turn.trained and turn.role != "assistant":
                raise TrajectoryError(
                    f"{where}, turn {position}: a {turn.role} turn is marked as trained; only assistant turns can be."
                )
        first = 1 if self.turns[0].role == "system" else 0
        for position, turn in enumerate(self.turns[first:]):
            expected: Role = "user" if position % 2 == 0 else "assistant"
            if turn.role != expected:
                raise TrajectoryError(
                    f"{where}, turn {position + first}: role {turn.role!r}; expected {expected!r}, since user and "
                    "assistant turns alternate, starting with the user's."
                )
        if self.turns[-1].role != "assistant":
            raise TrajectoryError(f"{where} ends with a {self.turns[-1].role} turn; expected an assistant turn.")

    @property
    def assistant_turns(self) -> int:
        return sum(turn.role == "assistant" for turn in self.turns)

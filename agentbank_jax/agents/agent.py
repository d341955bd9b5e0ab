"""How a model is driven in an environment: what an agent asks for, as a generator that a rollout carries on.

An agent asks its policy for assistant turns and lets the environment act, in whatever order it likes:

  def play(self, instruction, observation):
      turns = self.opening(instruction, observation)
      while True:
          reply = yield from ask(turns)
          seen = yield from act(self.parse(reply))
          if seen.ended:
              return
          turns = (*turns, Turn.assistant(reply), Turn.user(f"Observation: {seen.text}"))
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from agentbank_jax.trajectories.schema import Turn

Purpose = Literal["act", "plan", "reflect"]
"""What an assistant turn is for: one action (or the final answer), a plan of several, or words about a failure."""


@dataclass(frozen=True, kw_only=True)
class AskPolicy:
    """Wants an assistant turn to a conversation, which goes on where the last one of the same trial ended."""

    turns: tuple[Turn, ...]
    purpose: Purpose = "act"


@dataclass(frozen=True, kw_only=True)
class TakeAction:
    """Wants an action to be taken.

    Fields:
      action: what `TextEnvironment.step` takes; None for a reply in which there was none.
      refusal: the observation in that case.
    """

    action: str | None
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class TryAgain:
    """Wants the same problem anew, in a conversation of its own."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of an action, or the first observation of another trial.

    Fields:
      text: the observation.
      ended: whether the trial is over; no further action can be taken in it.
      success: whether it is over and reached the goal.
    """

    text: str
    ended: bool = False
    success: bool = False


Wish: TypeAlias = AskPolicy | TakeAction | TryAgain
Play: TypeAlias = Generator[Wish, str | Told, None]


def ask(turns: tuple[Turn, ...], purpose: Purpose = "act") -> Generator[Wish, str | Told, str]:
    """The policy's reply to a conversation."""
    reply = yield AskPolicy(turns=turns, purpose=purpose)
    assert isinstance(reply, str)
    return reply


def act(action: str | None, refusal: str = "") -> Generator[Wish, str | Told, Told]:
    """What comes of an action; None stands for a reply that held none, which is told the refusal."""
    told = yield TakeAction(action=action, refusal=refusal)
    assert isinstance(told, Told)
    return told


def try_again() -> Generator[Wish, str | Told, Told]:
    """The first observation of the same problem anew."""
    told = yield TryAgain()
    assert isinstance(told, Told)
    return told


class Agent(Protocol):
    """A way of driving a policy.

    Fields:
      name: in results.
      facts: all that decides what it does; episodes of other facts are not reused.
    """

    @property
    def name(self) -> str: ...

    @property
    def facts(self) -> tuple[str, ...]: ...

    def play(self, instruction: str, observation: str) -> Play:
        """Plays one problem, from its instruction and first observation on."""

    def render(self, thought: str, action: str) -> str:
        """The assistant turn that says a thought and an action."""

    def render_plan(self, steps: tuple[tuple[str, str], ...]) -> str:
        """The assistant turn that plans (thought, action) pairs; agents that never plan take the first."""

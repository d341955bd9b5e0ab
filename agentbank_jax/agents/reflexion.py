"""Reflexion: try, say in words what went wrong, and try again with that in mind (Shinn et al. 2023, arXiv 2303.11366).

A trial counts as failed by the environment's own verdict, as in the paper: an agent that reflects is told by the
benchmark whether it was right, which ReAct is not. Its figures are no comparison with those of one trial.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agentbank_jax.agents.agent import Play, ask, try_again
from agentbank_jax.agents.react import ReAct
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Turn

_REFLECT = (
    "You did not reach the goal. In a few sentences, say what went wrong in this attempt, and what you will do "
    "differently in the next one."
)
_MEMORY = "You have tried this before, without success. What you noted after each attempt:"


@dataclass(frozen=True, kw_only=True)
class Reflexion(ReAct):
    """ReAct in several trials. One that fills the context is the last: there is no room to reflect on it.

    Fields:
      trials: at most so many; the episode is that of the last one.
      memory: how many reflections are kept in mind, the newest ones.
    """

    name: str = "reflexion"
    trials: int = 3
    memory: int = 3

    def __post_init__(self) -> None:
        for name in ("trials", "memory"):
            if getattr(self, name) < 1:
                raise AgentBankError(f"reflexion: {name} is {getattr(self, name)}; expected at least 1.")

    @property
    def facts(self) -> tuple[str, ...]:
        return *super().facts, str(self.trials), str(self.memory), _REFLECT, _MEMORY

    def play(self, instruction: str, observation: str) -> Play:
        """Tries until a trial succeeds or was the last."""
        reflections: list[str] = []
        for trial in range(1, self.trials + 1):
            turns, told = yield from self.trial(self.opening(instruction, self._task(observation, reflections)))
            if told.success or trial == self.trials:
                return
            failure = f"Observation: {told.text}\n{_REFLECT}" if told.text else _REFLECT
            reflections.append((yield from ask((*turns, Turn.user(failure)), purpose="reflect")).strip())
            observation = (yield from try_again()).text

    def _task(self, observation: str, reflections: Sequence[str]) -> str:
        if not reflections:
            return observation
        notes = "\n".join(f"- {reflection}" for reflection in reflections[-self.memory :])
        return f"{_MEMORY}\n{notes}\n\n{observation}"

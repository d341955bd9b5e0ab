"""What the adapters to text games share: one line of text in, an outcome back, and the count of steps."""

import abc
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentbank_jax.environments.base import ExpertStep, TextEnvironment, begun, payload_of

# No command of any of these games comes near it, and an interpreter's buffer may be as short.
MAX_ACTION_CHARACTERS = 200

OVER = "The episode is over."


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an action did.

    Fields:
      observation: what the game answers.
      reward: what the episode is worth if it ends now, in [0, 1].
      ended: whether the game is over.
      invalid: whether the game did not understand the action, or could not do it.
      figures: the game's own, such as its raw score; they join `info`.
    """

    observation: str
    reward: float
    ended: bool = False
    invalid: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)


def solution(actions: Iterable[str]) -> list[ExpertStep]:
    """The steps of a solution that comes with the game."""
    return [ExpertStep(action=action, intent="solve") for action in actions]


class TextGame(TextEnvironment):
    """A text environment around a game that is begun with a payload and answers single lines.

    The reward of a step is what the episode would be worth if it ended there. `info` has `invalid_action`, and, once
    the episode has ended, `success` (reward 1) and `steps`. An action is taken as one line, its spaces made single.
    One that is empty or longer than `MAX_ACTION_CHARACTERS` never reaches the game; neither does one after the end.
    """

    impossible = "Nothing happens."

    # The engine, kept from one episode to the next.
    _game: Any = None
    _last: Outcome | None = None
    _limit: int | None = None

    @abc.abstractmethod
    def begin(self, payload: Any) -> str:
        """Sets the game up and returns the first observation."""

    @abc.abstractmethod
    def act(self, action: str) -> Outcome:
        """Gives the game one line, and returns what it did."""

    def step_limit(self) -> int | None:
        """After how many actions a game is cut off where nobody asks for another limit; None for never."""
        return None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        payload = payload_of(options, object, type(self).__name__)
        self._last = None
        observation = self.begin(payload)
        self._steps = 0
        self._limit = (options or {}).get("max_steps", self.step_limit())
        self._last = Outcome(observation=observation, reward=0.0)
        return observation, {"invalid_action": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        last = begun(self._last, type(self).__name__)
        line = " ".join(action.encode("utf-8", "replace").decode("utf-8").split())
        if last.ended:
            outcome = self._refuse(last, OVER)
        elif not line or len(line) > MAX_ACTION_CHARACTERS or "\0" in line:
            outcome = self._refuse(last, self.impossible)
        else:
            outcome = self.act(line)
        self._last = outcome
        self._steps += 1
        truncated = not outcome.ended and self._limit is not None and self._steps >= self._limit
        info: dict[str, Any] = {"invalid_action": outcome.invalid, **outcome.figures}
        if outcome.ended or truncated:
            info |= {"success": outcome.reward >= 1, "steps": self._steps}
        return outcome.observation, outcome.reward, outcome.ended, truncated, info

    def close(self) -> None:
        """Ends the engine, and what it has started."""
        game, self._game, self._last = self._game, None, None
        if game is not None:
            self.end(game)

    def end(self, game: Any) -> None:
        """Ends an engine that was kept in `_game`."""
        game.close()

    def sample_action(self, rng: random.Random) -> str:
        return rng.choice(self.valid_actions() or ["look"])

    def _refuse(self, last: Outcome, observation: str) -> Outcome:
        return Outcome(
            observation=observation, reward=last.reward, ended=last.ended, invalid=True, figures=last.figures
        )

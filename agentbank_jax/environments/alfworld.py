"""ALFWorld: household goals in TextWorld (Shridhar et al. 2021, arXiv 2010.03768).

The engine is the packages `alfworld` and `textworld`; `textworld` brings GPL libraries along, so they are an optional
extra, and are imported only when an environment begins a game.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentbank_jax.environments.alfworld_games import AlfworldGame
from agentbank_jax.environments.alfworld_wording import RELEASED, wording_called
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.packages import installed_version
from agentbank_jax.environments.text_game import Outcome, TextGame, solution

MAX_STEPS = 40

# Engines of environments that were closed, by wording. Each holds a copy of the planner's library, which is never given
# back, so the next environment takes one of these before it makes another.
_SPARE: dict[str, list[Any]] = {}


def protocol(wording: str = RELEASED.name) -> str:
    """What is recorded in a result: the engine's versions and the wording."""
    versions = ", ".join(f"{package} {installed_version(package)}" for package in ("alfworld", "textworld"))
    return f"alfworld/1 ({versions}, {wording})"


class AlfworldEnvironment(TextGame):
    """ALFWorld's text games, in either of its wordings.

    The payload of an instance is an `AlfworldGame`. Reward 1 when the goal is met, else 0. What cannot be done or
    understood is answered "Nothing happens.". `info` has `task_type` with every step. Domain and grammar are the
    package's, whatever a game's own file holds, so that all games read alike.

    Args:
      wording: a name in `alfworld_wording.WORDINGS`; the default is that of the released trajectories.

    Raises:
      AlfworldError: on an unknown wording.
    """

    def __init__(self, *, wording: str = RELEASED.name) -> None:
        self._wording = wording_called(wording)

    def begin(self, payload: AlfworldGame) -> str:
        with _own_arguments():
            self._load(payload)
            self._state = self._game.reset()
        self._task_type = payload.task_type
        # The first paragraph is the welcome; the released trajectories begin with the room.
        _, *paragraphs = self._state.feedback.split("\n\n")
        return "\n".join(paragraphs).strip()

    def act(self, action: str) -> Outcome:
        command = self._wording.command(action)
        figures = {"task_type": self._task_type}
        if command not in self._state["_valid_commands"]:
            return Outcome(observation=self.impossible, reward=0.0, invalid=True, figures=figures)
        self._state, _, won = self._game.step(command)
        return Outcome(observation=self._state.feedback.strip(), reward=float(won), ended=won, figures=figures)

    def valid_actions(self) -> list[str]:
        return list(self._state["admissible_commands"])

    def expert_steps(self) -> list[ExpertStep]:
        """The planner's walkthrough, which is made once for each episode."""
        return solution(self._state["extra.walkthrough"])

    def end(self, game: Any) -> None:
        _SPARE.setdefault(self._wording.name, []).append(game)

    def _load(self, payload: AlfworldGame) -> None:
        if self._game is None:
            spare = _SPARE.get(self._wording.name)
            self._game = spare.pop() if spare else self._made()
        self._game.load({"task": f"Your task is to: {payload.goal}.", "pddl_problem": payload.pddl_problem()})

    def _made(self) -> Any:
        import alfworld.info

        from agentbank_jax.environments.alfworld_engine import AlfredGames

        domain, packaged = (
            Path(path).read_text(encoding="utf-8")
            for path in (alfworld.info.ALFRED_PDDL_PATH, alfworld.info.ALFRED_TWL2_PATH)
        )
        return AlfredGames(domain, self._wording.grammar(packaged))


@contextmanager
def _own_arguments() -> Iterator[None]:
    """The planner's translator puts arguments of its own into `sys.argv`."""
    arguments = list(sys.argv)
    try:
        yield
    finally:
        sys.argv[:] = arguments

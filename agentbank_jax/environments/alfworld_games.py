"""ALFWorld's games as the user has them: the publisher's folders, or JSON lines.

ALFWorld: Shridhar et al. 2021, arXiv 2010.03768. The project ships none of its games.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.row_files import read_rows, text_field
from agentbank_jax.errors import AgentBankError, first_line

GAME_FILE = "game.tw-pddl"
TRAJECTORY_FILE = "traj_data.json"

# The publisher's own loader leaves these out.
_UNSUPPORTED = ("movable", "Sliced")

# In the grammar that the publisher's file of a game holds.
_GOAL = re.compile(r"Your task is to: ([^\"\\\n]+?)\.?\s*[\"\\\n]")


class AlfworldError(AgentBankError):
    """A game that cannot be read, or a wording that does not exist."""


@dataclass(frozen=True, kw_only=True)
class AlfworldGame:
    """A payload: a goal, and its world.

    Fields:
      goal: the sentence after `Your task is to: `, without its full stop.
      task_type: one of ALFWorld's six, such as `pick_heat_then_place_in_recep`.
      problem: the world and the goal in PDDL; empty where `path` holds them.
      path: the publisher's file of the game; None where `problem` is given.
    """

    goal: str
    task_type: str
    problem: str = ""
    path: str | None = None

    def pddl_problem(self) -> str:
        """The world and the goal in PDDL."""
        return self.problem if self.path is None else _game(Path(self.path))["pddl_problem"]


def read_games(path: Path, split: str) -> Iterator[Instance]:
    """Yields the games of a file: one of the publisher's, or JSON lines, perhaps gzipped, with `id`, `task_type`, \
    `goal` and `pddl_problem`.

    Of the publisher's, those that its own loader leaves out yield nothing: games without a trajectory beside them,
    with movable receptacles or slicing, or marked as not solvable.

    Raises:
      AlfworldError: where a file of the publisher's breaks its layout; names it and the field.
      AgentBankError: the same for JSON lines; names file, row and field.
    """
    if path.name == GAME_FILE:
        yield from _published(path, split)
        return
    for where, row in read_rows(path):
        name, task_type, goal, problem = (
            text_field(row, field, where) for field in ("id", "task_type", "goal", "pddl_problem")
        )
        yield _instance(split, name, AlfworldGame(goal=goal, task_type=task_type, problem=problem), problem)


def _published(path: Path, split: str) -> Iterator[Instance]:
    beside = path.with_name(TRAJECTORY_FILE)
    if any(part in str(path.parent) for part in _UNSUPPORTED) or not beside.is_file():
        return
    game, trajectory = _game(path), _read(beside)
    if not game["solvable"]:
        return
    goal = _GOAL.search(game["grammar"])
    if goal is None:
        raise AlfworldError(f"{path}:grammar: no sentence 'Your task is to: …' in it; expected the game's goal.")
    task_type = trajectory.get("task_type")
    if not isinstance(task_type, str):
        raise AlfworldError(f"{beside}:task_type: {task_type!r:.40}; expected a text.")
    payload = AlfworldGame(goal=goal[1], task_type=task_type, path=str(path))
    yield _instance(split, f"{path.parent.parent.name}/{path.parent.name}", payload, game["pddl_problem"])


def _game(path: Path) -> dict[str, Any]:
    game = _read(path)
    for field, kind in (("pddl_problem", str), ("grammar", str), ("solvable", bool)):
        if not isinstance(game.get(field), kind):
            raise AlfworldError(f"{path}:{field}: {game.get(field)!r:.40}; expected {kind.__name__}.")
    return game


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AlfworldError(f"{path}: cannot be read ({first_line(error)}); expected ALFWorld's JSON.") from None
    if not isinstance(value, dict):
        raise AlfworldError(f"{path}: {type(value).__name__}; expected ALFWorld's JSON object.")
    return value


def _instance(split: str, name: str, game: AlfworldGame, problem: str) -> Instance:
    return Instance(
        id=f"alfworld/{split}/{name}",
        fingerprint=hashlib.sha256(" ".join(problem.split()).encode()).hexdigest()[:16],
        payload=game,
    )

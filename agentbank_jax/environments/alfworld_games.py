"""ALFWorld's games as the user has them: the publisher's folders, or JSON lines.

ALFWorld: Shridhar et al. 2021, arXiv 2010.03768. The project ships none of its games.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentbank_jax.environments.alfworld_goals import difficulty_of
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_object, read_rows, text_field
from agentbank_jax.errors import AgentBankError

GAME_FILE = "game.tw-pddl"
TRAJECTORY_FILE = "traj_data.json"

_FIELDS = ("id", "task_type", "goal", "pddl_problem")
_PUBLISHED = {"pddl_problem": str, "grammar": str, "solvable": bool}

# The publisher's own loader leaves these out.
_UNSUPPORTED = ("movable", "Sliced")

# In the grammar that the publisher's file of a game holds.
_GOAL = re.compile(r"Your task is to: ([^\"\\\n]+?)\.?\s*[\"\\\n]")


class AlfworldError(AgentBankError):
    """A game without a goal, or a wording that does not exist."""


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
        return self.problem if self.path is None else read_object(self.path, _PUBLISHED)["pddl_problem"]


def read_games(path: Path, split: str) -> Iterator[Instance]:
    """Yields the games of a file: one of the publisher's, or JSON lines, perhaps gzipped, with `id`, `task_type`, \
    `goal` and `pddl_problem`.

    Of the publisher's, those that its own loader leaves out yield nothing: games without a trajectory beside them,
    with movable receptacles or slicing, or marked as not solvable.

    Raises:
      AgentBankError: where a file cannot be read or breaks the layout; names file, row and field.
    """
    if path.name == GAME_FILE:
        yield from _published(path, split)
        return
    for number, row in read_rows(path, dict.fromkeys(_FIELDS, str)):
        name, task_type, goal, problem = (text_field(row, field, f"{path}:{number}") for field in _FIELDS)
        yield _instance(split, name, AlfworldGame(goal=goal, task_type=task_type, problem=problem), problem)


def _published(path: Path, split: str) -> Iterator[Instance]:
    beside = path.with_name(TRAJECTORY_FILE)
    if any(part in str(path.parent) for part in _UNSUPPORTED) or not beside.is_file():
        return
    game = read_object(path, _PUBLISHED)
    if not game["solvable"]:
        return
    goal = _GOAL.search(game["grammar"])
    if goal is None:
        raise AlfworldError(f"{path}:grammar: no sentence 'Your task is to: …' in it; expected the game's goal.")
    task_type = read_object(beside, {"task_type": str})["task_type"]
    payload = AlfworldGame(goal=goal[1], task_type=task_type, path=str(path))
    yield _instance(split, f"{path.parent.parent.name}/{path.parent.name}", payload, game["pddl_problem"])


def _instance(split: str, name: str, game: AlfworldGame, problem: str) -> Instance:
    return Instance(
        id=f"alfworld/{split}/{name}",
        fingerprint=question_fingerprint(problem)[:16],
        payload=game,
        difficulty=difficulty_of(game.task_type),
    )

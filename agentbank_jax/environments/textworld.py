"""TextWorld's own games: rooms, containers and keys, made from a seed (Côté et al. 2018, arXiv 1806.11532).

A game is made and compiled when it is first played, and kept in the user's cache folder. The engine is the package
`textworld`, which brings GPL libraries along; it is imported only then.
"""

import hashlib
import os
import re
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.packages import installed_version
from agentbank_jax.environments.registry import check_split
from agentbank_jax.environments.text_game import Outcome, TextGame, solution

# Of `tw-make custom --world-size 5 --nb-objects 10 --quest-length 5`, the example of TextWorld's own pages.
ROOMS = 5
OBJECTS = 10
QUEST_LENGTH = 5

MAX_STEPS = 50

CACHE_VARIABLE = "XDG_CACHE_HOME"

# Between the seeds that are tried for one game; far more than anybody plays.
_SEED_STRIDE = 1 << 24

# One command, of which the interpreter could make no second: full stops, commas and `then` would part two.
_COMMAND = re.compile(r"(?!.*\bthen\b)[a-z0-9][a-z0-9 '-]*")

# The interpreter's prompt and status line, behind the text.
_PROMPT = re.compile(r"\n>\s.*\Z", re.DOTALL)


def protocol() -> str:
    """What is recorded in a result: the engine's version, and how large the games are."""
    return f"textworld/1 (textworld {installed_version('textworld')}, {ROOMS} rooms, quests of {QUEST_LENGTH})"


@dataclass(frozen=True, kw_only=True)
class TextWorldGame:
    """A payload: the seed of a game."""

    seed: int


def instance(split: str, index: int) -> Instance:
    """Game `index` of a split, without end: even seeds are tested on, odd ones trained on."""
    seed = 2 * index + (check_split(split) == "train")
    return Instance(
        id=f"textworld/{split}/{index}",
        fingerprint=hashlib.sha256(f"textworld/{ROOMS}/{OBJECTS}/{QUEST_LENGTH}/{seed}".encode()).hexdigest()[:16],
        payload=TextWorldGame(seed=seed),
    )


def cache_folder() -> Path:
    """Where made games are kept: in `XDG_CACHE_HOME`, or in `~/.cache`."""
    root = os.environ.get(CACHE_VARIABLE) or "~/.cache"
    kind = f"{installed_version('textworld')}-{ROOMS}-{OBJECTS}-{QUEST_LENGTH}"
    return Path(root).expanduser() / "agentbank_jax" / "textworld" / kind


def game_file(seed: int) -> Path:
    """The compiled game of a seed, made where it is not there yet.

    About one game in a hundred has two things whose names the interpreter cannot tell apart, so that its own
    walkthrough gets stuck. Another seed, which follows from the first, is taken in its place.
    """
    folder = cache_folder() / str(seed)
    path = folder / "game.z8"
    if not path.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{seed}-", dir=folder.parent))
        try:
            while not _make(seed, making / path.name):
                seed += _SEED_STRIDE
            # Another process may have been first; its game is the same.
            if not path.is_file():
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return path


def _make(seed: int, path: Path) -> bool:
    """Makes a game, and says whether its own walkthrough wins it."""
    import textworld
    from textworld.generator.data import KnowledgeBase

    options = textworld.GameOptions()
    options.kb = KnowledgeBase.default()  # else it is parsed anew, which takes longer than all else
    options.seeds = seed
    options.nb_rooms, options.nb_objects, options.quest_length = ROOMS, OBJECTS, QUEST_LENGTH
    options.path, options.force_recompile = str(path), True
    textworld.make(options)
    game = _start(path, textworld.EnvInfos(won=True, extras=["walkthrough"]))
    try:
        state = game.reset()
        for command in state["extra.walkthrough"]:
            state, _, _ = game.step(command)
        return bool(state.won)
    finally:
        game.close()


def _start(path: Path, wanted: Any) -> Any:
    import textworld

    with warnings.catch_warnings():
        # The interpreter does not know the game; TextWorld itself keeps the score.
        warnings.filterwarnings("ignore", "Game .* is not fully supported")
        return textworld.start(str(path), wanted)


class TextWorldEnvironment(TextGame):
    """A made game of TextWorld, played in its interpreter.

    The payload of an instance is a `TextWorldGame`. The reward of a step is the highest score so far over the game's
    highest score: 1 when the quest is done. Only single commands that begin with one of the game's verbs reach the
    interpreter, which also knows commands of its own, such as `save` and `quit`.
    """

    impossible = "That's not a verb I recognise."

    def begin(self, payload: TextWorldGame) -> str:
        import textworld

        self.close()
        wanted = textworld.EnvInfos(
            won=True, lost=True, max_score=True, admissible_commands=True, verbs=True, objective=True,
            extras=["walkthrough"],
        )  # fmt: skip
        self._game = _start(game_file(payload.seed), wanted)
        self._state = self._game.reset()
        self._best = 0.0
        text = _shown(self._state.feedback)
        # A banner stands before the objective.
        return text[max(0, text.find(self._state.objective)) :]

    def act(self, action: str) -> Outcome:
        action = action.lower()
        if not _COMMAND.fullmatch(action) or action.split()[0] not in self._state.verbs:
            return Outcome(observation=self.impossible, reward=self._best, invalid=True)
        known = any(action == valid.lower() for valid in self._state.admissible_commands)
        self._state, score, done = self._game.step(action)
        self._best = max(self._best, score / self._state.max_score)
        return Outcome(
            observation=_shown(self._state.feedback),
            reward=self._best,
            ended=bool(done),
            invalid=not known,
            figures={"score": score, "max_score": self._state.max_score},
        )

    def valid_actions(self) -> list[str]:
        return list(self._state.admissible_commands)

    def expert_steps(self) -> list[ExpertStep]:
        """The walkthrough that was made with the game."""
        return solution(self._state["extra.walkthrough"])


def _shown(feedback: str) -> str:
    return _PROMPT.sub("", feedback).strip()

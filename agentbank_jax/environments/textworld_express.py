"""TextWorldExpress: eight small text games in one fast simulator (Jansen and Côté 2023, arXiv 2208.01174).

The simulator is the package `textworld-express`, which starts a Java virtual machine.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.java import close_machine, machine_options
from agentbank_jax.environments.packages import installed_version
from agentbank_jax.environments.registry import check_index, check_split
from agentbank_jax.environments.text_game import Outcome, TextGame, solution
from agentbank_jax.errors import AgentBankError

# The simulator's own names, in its order.
GAMES = ("cookingworld", "twc", "coin", "mapreader", "arithmetic", "sorting", "simonsays", "peckingorder")

# Its training and its test seeds; those of its development split lie between them.
SEEDS = {"train": range(1000), "test": range(20000, 21000)}

# The simulator's own limit.
MAX_STEPS = 100

# The experts that walk at random, and how often the simulator lets them try.
_WANDERERS = {"twc": "TWCGoldAgent", "coin": "CoinGoldAgent"}
_WALKS = 50

_UNKNOWN = "Unknown action"
_NO_LIMIT = 1_000_000


def protocol() -> str:
    """What is recorded in a result: the engine's version."""
    return f"textworld_express/1 (textworld-express {installed_version('textworld-express')}, default games)"


@dataclass(frozen=True, kw_only=True)
class ExpressGame:
    """A payload: the name of a game, and the seed and fold of its world."""

    name: str
    seed: int
    fold: str


def instance(split: str, index: int) -> Instance:
    """Game `index` of a split, one of each kind in turn.

    Raises:
      EnvironmentRegistryError: there is no such split or game.
    """
    check_index("textworld_express", split, index, size(split))
    number, kind = divmod(index, len(GAMES))
    name, seed = GAMES[kind], SEEDS[split][number]
    return _instance(f"textworld_express/{split}/{name}/{seed}", split, name, seed)


def size(split: str) -> int:
    """How many games a split holds."""
    return len(GAMES) * worlds(split)


def world(game: str, split: str, index: int) -> Instance:
    """World `index` of a split, of one kind of game alone. It is the same there as in `instance`.

    Raises:
      EnvironmentRegistryError: there is no such split or world.
    """
    name = f"textworld_express_{game}"
    check_index(name, split, index, worlds(split))
    return _instance(f"{name}/{split}/{index}", split, game, SEEDS[split][index])


def worlds(split: str) -> int:
    """How many worlds of each kind of game a split holds."""
    return len(SEEDS[check_split(split)])


def _instance(identifier: str, split: str, name: str, seed: int) -> Instance:
    return Instance(
        id=identifier,
        fingerprint=hashlib.sha256(f"textworld_express/{split}/{name}/{seed}".encode()).hexdigest()[:16],
        payload=ExpressGame(name=name, seed=seed, fold=split),
    )


class TextWorldExpressEnvironment(TextGame):
    """A game of TextWorldExpress, with the simulator's own settings.

    The payload of an instance is an `ExpressGame`. The reward of a step is the highest score so far, in [0, 1]. A game
    can be lost. `info` has `score`, the simulator's, and `game`. One Java virtual machine serves all episodes; it ends
    with this process.
    """

    impossible = "Unknown action: I'm not sure what you mean."

    _state: dict[str, Any]
    _loaded: str

    def begin(self, payload: ExpressGame) -> str:
        self._payload = payload
        self._best = 0.0
        return self._restart(gold=False)

    def act(self, action: str) -> Outcome:
        # Its names have capitals ("box of Q-tips"), which it insists on.
        valid = self._state["validActions"]
        command = {name.lower(): name for name in valid}.get(action.lower(), action)
        observation, _, done, state = self._game.step(command)
        invalid = command not in valid and observation.startswith(_UNKNOWN)
        self._state = state
        self._best = max(self._best, state["score"])
        return Outcome(
            observation=observation.strip(),
            reward=self._best,
            ended=bool(done),
            invalid=invalid,
            figures={"score": state["score"], "game": self._payload.name},
        )

    def valid_actions(self) -> list[str]:
        return sorted(self._state["validActions"])

    def state_key(self) -> tuple[Any, ...]:
        """What can be seen of a state: the place, what is carried and can be done, and the scores.

        What has changed in other places is not seen, so that states may have one key that differ in that alone.
        """
        state = self._state
        # Simon shows no place: all that is known is what he says.
        shown = state["look"] or state["observation"]
        return shown, state["inventory"], tuple(self.valid_actions()), state["score"], self._best

    def expert_steps(self) -> list[ExpertStep]:
        """The simulator's own solution, the same each time.

        In two games its expert walks at random until it has seen all it needs. The simulator draws those walks anew
        each time; here the seed of the world decides them.
        """
        expert = _WANDERERS.get(self._payload.name)
        if expert is None:
            self._restart(gold=True)
            actions = self._game.getGoldActionSequence()
        else:
            actions = self._wandered(expert)
        self._restart(gold=False)
        return solution(actions)

    def end(self, game: Any) -> None:
        close_machine(game)

    def _wandered(self, expert: str) -> list[str]:
        java = self._game._gateway.jvm
        draws = java.scala.util.Random(self._payload.seed)
        for _ in range(_WALKS):
            self._restart(gold=False)
            walk = getattr(java.textworldexpress.goldagent, expert)(self._game.server.game()).mkGoldPath(draws)
            if walk._1:
                return list(walk._2)[1:]  # a reset has looked around already
        raise AgentBankError(
            f"{self._payload.name}, seed {self._payload.seed}: its expert has found no way in {_WALKS} walks."
        )

    def _restart(self, *, gold: bool) -> str:
        if self._game is None:
            from textworld_express import TextWorldExpressEnv

            with machine_options():
                self._game = TextWorldExpressEnv(envStepLimit=_NO_LIMIT)
            self._loaded = ""
        game = self._payload
        if self._loaded != game.name:
            # Takes most of a reset, and is the same for all worlds of a game.
            self._game.load(game.name, "")
            self._loaded = game.name
        observation, state = self._game.reset(seed=game.seed, gameFold=game.fold, generateGoldPath=gold)
        self._state = state
        return f"{state['taskDescription'].strip()}\n{observation.strip()}"

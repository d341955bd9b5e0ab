"""ScienceWorld: elementary-school science in a text simulator (Wang et al. 2022, arXiv 2203.07540).

The simulator is the package `scienceworld`, which starts a Java virtual machine. Scores, limits and settings follow
the evaluator of ETO (Song et al. 2024, arXiv 2403.02502).
"""

import functools
import hashlib
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.java import close_machine, machine_options
from agentbank_jax.environments.packages import installed_version
from agentbank_jax.environments.registry import check_index, check_split
from agentbank_jax.environments.text_game import Outcome, TextGame, solution

SIMPLIFICATION = "easy"

# The six tasks without a published limit get the longest that there is.
LONGEST_LIMIT = 120

# Its own answer to what it cannot parse.
_UNKNOWN = "No known action matches that input."

# Never reached: the limits are this module's.
_NO_LIMIT = 1_000_000


class ScienceTask(NamedTuple):
    """One of the thirty tasks.

    Fields:
      name: the simulator's.
      variations: how many there are.
      limit: the published number of actions; None where none is published.
    """

    name: str
    variations: int
    limit: int | None

    @property
    def step_limit(self) -> int:
        """The number of actions after which an episode is truncated."""
        return self.limit or LONGEST_LIMIT

    def variation_range(self, split: str) -> range:
        """The variations of a split: the simulator trains on the first two quarters, and tests on the last.

        The third quarter is its development split, which no split of ours holds. Quarters are rounded down, so the
        test split has what remains.
        """
        quarter = self.variations // 4
        return range(2 * quarter) if split == "train" else range(3 * quarter, self.variations)


TASKS = (
    ScienceTask("boil", 30, 100),
    ScienceTask("melt", 30, 80),
    ScienceTask("freeze", 30, 80),
    ScienceTask("change-the-state-of-matter-of", 30, 80),
    ScienceTask("use-thermometer", 540, 30),
    ScienceTask("measure-melting-point-known-substance", 436, 120),
    ScienceTask("measure-melting-point-unknown-substance", 300, None),
    ScienceTask("power-component", 20, 20),
    ScienceTask("power-component-renewable-vs-nonrenewable-energy", 20, 30),
    ScienceTask("test-conductivity", 900, 30),
    ScienceTask("test-conductivity-of-unknown-substances", 600, 30),
    ScienceTask("find-living-thing", 300, 15),
    ScienceTask("find-non-living-thing", 300, 15),
    ScienceTask("find-plant", 300, 15),
    ScienceTask("find-animal", 300, 15),
    ScienceTask("grow-plant", 126, 30),
    ScienceTask("grow-fruit", 126, 60),
    ScienceTask("chemistry-mix", 32, 60),
    ScienceTask("chemistry-mix-paint-secondary-color", 36, 15),
    ScienceTask("chemistry-mix-paint-tertiary-color", 36, 30),
    ScienceTask("lifespan-longest-lived", 125, 10),
    ScienceTask("lifespan-shortest-lived", 125, 10),
    ScienceTask("lifespan-longest-lived-then-shortest-lived", 125, 12),
    ScienceTask("identify-life-stages-1", 14, 30),
    ScienceTask("identify-life-stages-2", 10, 30),
    ScienceTask("inclined-plane-determine-angle", 168, None),
    ScienceTask("inclined-plane-friction-named-surfaces", 1386, None),
    ScienceTask("inclined-plane-friction-unnamed-surfaces", 162, None),
    ScienceTask("mendelian-genetics-known-plant", 120, None),
    ScienceTask("mendelian-genetics-unknown-plant", 480, None),
)


@dataclass(frozen=True, kw_only=True)
class ScienceProblem:
    """A payload: a task and one of its variations."""

    task: ScienceTask
    variation: int


def version() -> str:
    """The simulator's, from which the instances follow."""
    return f"scienceworld {installed_version('scienceworld')}"


def protocol() -> str:
    """What is recorded in a result: the simulator's version, its simplification, and whose limits apply."""
    return f"scienceworld/1 ({version()}, {SIMPLIFICATION}, limits of ETO)"


@functools.cache
def problems(split: str) -> tuple[ScienceProblem, ...]:
    """All problems of a split, one of each task in turn, so that the first thirty are of thirty tasks."""
    columns = [task.variation_range(check_split(split)) for task in TASKS]
    return tuple(
        ScienceProblem(task=task, variation=variation)
        for row in zip_longest(*columns)
        for task, variation in zip(TASKS, row, strict=True)
        if variation is not None
    )


def instance(split: str, index: int) -> Instance:
    """Problem `index` of a split. Its difficulty is the limit of actions of its task.

    Raises:
      EnvironmentRegistryError: there is no such split or problem.
    """
    known = problems(split)
    check_index("scienceworld", split, index, len(known))
    problem = known[index]
    name = f"{problem.task.name}/{problem.variation}"
    return Instance(
        id=f"scienceworld/{split}/{name}",
        fingerprint=hashlib.sha256(f"scienceworld/{name}".encode()).hexdigest()[:16],
        payload=problem,
        difficulty=problem.task.step_limit,
    )


def size(split: str) -> int:
    """How many problems a split holds."""
    return len(problems(split))


class ScienceWorldEnvironment(TextGame):
    """ScienceWorld, simplified by `easy`, with the published limits.

    The payload of an instance is a `ScienceProblem`. The reward of a step is the highest score so far, over 100, so
    that of the last step is the episode's: the simulator's own is the change of the score, which falls to -100 where
    the agent focuses on a wrong thing, and the episode then ends. `info` has `score`, the simulator's, and `task`.
    One Java virtual machine serves all episodes; it ends with this process.

    The world of a problem is always the same, and so is what the same actions do in it, in machines that were started
    with `MACHINE_OPTIONS`. With Java's own settings the order in which things are named, and what bees pollinate,
    depend on the episodes before.

    An episode is truncated after its task's published number of actions (120 where none is published), unless `reset`
    is given `max_steps`. Some of the simulator's own solutions are longer.
    """

    impossible = _UNKNOWN

    def begin(self, payload: ScienceProblem) -> str:
        self._problem = payload
        self._best = 0
        self._load(gold=False)
        return f"{self._game.taskdescription().strip()}\n{self._game.server.step('look around').strip()}"

    def act(self, action: str) -> Outcome:
        # The game's own `step` also lists all valid actions, which takes twenty times as long as the step itself.
        server = self._game.server
        observation = server.step(action).strip()
        score = round(100 * server.getScore())
        self._best = max(self._best, score)
        return Outcome(
            observation=observation,
            reward=self._best / 100,
            ended=bool(server.getCompleted()) or score < 0,
            invalid=observation == _UNKNOWN,
            figures={"score": score, "task": self._problem.task.name},
        )

    def step_limit(self) -> int:
        return self._problem.task.step_limit

    def valid_actions(self) -> list[str]:
        return sorted(set(self._game.get_valid_action_object_combinations()))

    def expert_steps(self) -> list[ExpertStep]:
        """The simulator's own solution: the same each time, with rare exceptions.

        What its machine has not met before it may try in another order. So the first solution of each task is left.
        Now and then a later one is another still: where that matters, begin with a new machine.
        """
        for _ in range(1 if self._problem.task in self._solved else 2):
            self._load(gold=True)
        self._solved.add(self._problem.task)
        actions = self._game.get_gold_action_sequence()
        self._load(gold=False)
        self._game.server.step("look around")
        return solution(actions)

    def end(self, game: Any) -> None:
        close_machine(game)

    def _load(self, *, gold: bool) -> None:
        if self._game is None:
            from scienceworld import ScienceWorldEnv

            with machine_options():
                self._game = ScienceWorldEnv("", envStepLimit=_NO_LIMIT)
            # The tasks that this machine has solved.
            self._solved: set[ScienceTask] = set()
        # Loading begins the episode as well; the simulator's `reset` would make the same world a second time.
        self._game.load(self._problem.task.name, self._problem.variation, SIMPLIFICATION, gold)

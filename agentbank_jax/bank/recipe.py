"""What to build: one task's candidates, how they are made, and what the result depends on."""

import abc
import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agentbank_jax.bank.outcome import Outcome
from agentbank_jax.errors import AgentBankError, did_you_mean

GSM8K = "gsm8k"
STARTER_TASKS = ("starter_reasoning", "starter_math", "starter_programming", "starter_web", "starter_embodied")
TASKS = (*STARTER_TASKS, GSM8K)
DEFAULT_TRAJECTORIES = 25_000

_PACKAGE = Path(__file__).resolve().parents[1]
_SHARED_SOURCES = (
    "bank/outcome.py",
    "trajectories/schema.py",
    "trajectories/formats/agentbank.py",
    "trajectories/formats/fields.py",
    "trajectories/rows/writers.py",
)
# A seed other than 0 starts among the first 100,000 instances at one of these distances.
_SEED_STRIDE, _SEED_STARTS = 1000, 100


class Recipe(abc.ABC):
    """A task to build; picklable, so that worker processes can run it.

    Attributes:
      task: the task's name and its folder in the bank.
      wanted: how many trajectories to keep; None takes every candidate.
      candidates: how many there are; None where they do not end.
      shard_rows: trajectories per file; None puts all in one file.
    """

    task: str
    wanted: int | None
    candidates: int | None
    shard_rows: int | None

    @abc.abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """Everything that the result depends on, as JSON values: equal parameters give equal bytes."""

    @abc.abstractmethod
    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        """Makes the candidates with numbers `start` to `stop - 1`, in order."""


@dataclass(frozen=True, kw_only=True)
class StarterRecipe(Recipe):
    """Trajectories of one starter family's train split.

    Fields:
      task: the family.
      wanted: how many trajectories.
      seed: chooses instances and wording.
      shard_rows: trajectories per file.
    """

    task: str
    wanted: int
    seed: int = 0
    shard_rows: int = 2000
    candidates: int | None = None

    def __post_init__(self) -> None:
        _check_task(self.task, STARTER_TASKS)
        if self.wanted < 1:
            raise AgentBankError(f"{self.task}: {self.wanted} trajectories; expected at least 1.")

    def parameters(self) -> Mapping[str, Any]:
        sources = ("bank/starter.py", "bank/replay.py", "bank/thoughts.py", "environments", *_SHARED_SOURCES)
        return {
            "task": self.task,
            "split": "train",
            "trajectories": self.wanted,
            "seed": self.seed,
            "shard_rows": self.shard_rows,
            "sources": source_hash(sources),
        }

    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        from agentbank_jax.bank import thoughts
        from agentbank_jax.bank.starter import build_trajectory
        from agentbank_jax.environments import registry

        spec = registry.get(self.task)
        templates = thoughts.templates_of(self.task)
        first = self._first_index()
        return [
            build_trajectory(spec, "train", first + number, self.seed, templates=templates)
            for number in range(start, stop)
        ]

    def _first_index(self) -> int:
        return random.Random(self.seed).randrange(_SEED_STARTS) * _SEED_STRIDE if self.seed else 0


@dataclass(frozen=True, kw_only=True)
class Gsm8kRecipe(Recipe):
    """All of GSM8K's training problems that can be converted.

    Fields:
      path: the published file.
      seed: chooses the wording where the solution has none.
      wanted: at most so many trajectories; None takes all.
    """

    path: Path
    seed: int = 0
    wanted: int | None = None
    task: str = GSM8K
    shard_rows: int | None = None

    @property
    def candidates(self) -> int:  # type: ignore[override]
        return len(_problems(self.path))

    def parameters(self) -> Mapping[str, Any]:
        _problems(self.path)  # reports a file that cannot be read
        sources = (
            "bank/annotation.py",
            "bank/gsm8k.py",
            "bank/gsm8k_solution.py",
            "bank/equations.py",
            "bank/algebra.py",
            "bank/replay.py",
            "environments/benchmark_rows.py",
            "environments/calculator.py",
            "environments/gsm8k_rows.py",
            "environments/math_problems.py",
            "environments/turn_text.py",
            *_SHARED_SOURCES,
        )
        return {
            "task": self.task,
            "split": "train",
            "input_sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "trajectories": self.wanted,
            "seed": self.seed,
            "sources": source_hash(sources),
        }

    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        from agentbank_jax.bank import gsm8k

        return [
            Outcome(item=gsm8k.convert(problem, seed=self.seed), fingerprint=problem.fingerprint)
            for problem in _problems(self.path)[start:stop]
        ]


def plan(
    tasks: Sequence[str],
    *,
    trajectories: int | None = None,
    seed: int = 0,
    input_path: str | os.PathLike[str] | None = None,
) -> list[Recipe]:
    """Turns a request into recipes, one per task.

    Args:
      tasks: names out of `TASKS`; none means all starter families.
      trajectories: in total, split evenly over the starter families named; None means
        `DEFAULT_TRAJECTORIES`. Without a starter family: the most to take from the input.
      seed: of instances and wording.
      input_path: the source file of a task that reformats published data.

    Raises:
      AgentBankError: on an unknown task, a task without its input, an input without its task, or
        fewer trajectories than families.
    """
    chosen = list(dict.fromkeys(tasks)) or list(STARTER_TASKS)
    for task in chosen:
        _check_task(task, TASKS)
    starter = [task for task in chosen if task in STARTER_TASKS]
    if trajectories is not None and trajectories < max(1, len(starter)):
        raise AgentBankError(
            f"--trajectories={trajectories}: expected at least {max(1, len(starter))}, one for each of "
            f"{', '.join(starter or chosen)}."
        )
    if GSM8K in chosen and input_path is None:
        raise AgentBankError(
            f"--task={GSM8K} needs --input=FILE: GSM8K's train.jsonl, plain or gzipped "
            "(github.com/openai/grade-school-math)."
        )
    if GSM8K not in chosen and input_path is not None:
        raise AgentBankError(f"--input={input_path}: only --task={GSM8K} reads a file; add it or leave --input out.")
    share, rest = divmod(trajectories or DEFAULT_TRAJECTORIES, max(1, len(starter)))
    recipes: list[Recipe] = []
    for task in chosen:
        if task == GSM8K:
            most = None if starter else trajectories
            recipes.append(Gsm8kRecipe(path=Path(input_path or ""), seed=seed, wanted=most))
        else:
            recipes.append(StarterRecipe(task=task, wanted=share + (starter.index(task) < rest), seed=seed))
    return recipes


def source_hash(sources: Sequence[str]) -> str:
    """Returns the SHA-256 of source files and folders of the package; a changed generator makes another bank."""
    digest = hashlib.sha256()
    for name in sources:
        path = _PACKAGE / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and file.suffix != ".pyc":
                digest.update(f"{file.relative_to(_PACKAGE).as_posix()}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _check_task(task: str, known: Sequence[str]) -> None:
    if task not in known:
        raise AgentBankError(f"no task is called '{task}'.{did_you_mean(task, known)}")


@cache
def _problems(path: Path) -> tuple[Any, ...]:
    from agentbank_jax.environments import gsm8k_rows

    return tuple(gsm8k_rows.read_problems(path, "train"))

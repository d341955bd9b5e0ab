"""Recipes and builds for tests, in this process."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentbank_jax.bank import gsm8k
from agentbank_jax.bank.build import BuildResult, ProgressCallback, build
from agentbank_jax.bank.chunks import LocalChunks
from agentbank_jax.bank.environment_recipe import EnvironmentRecipe
from agentbank_jax.bank.filter_config import FilterConfig
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.bank.recipe_config import RecipeConfig, TeacherConfig
from agentbank_jax.bank.replay import Replayed, conversation
from agentbank_jax.environments import registry
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.gsm8k_rows import Problem
from agentbank_jax.environments.sandbox_limits import SandboxConfig
from agentbank_jax.trajectories.schema import Trajectory

STARTER_TASKS = tuple(name for name in registry.names(held_out=False) if name.startswith("starter_"))


def recipe_of(
    task: str, *, seed: int = 0, benchmarks: BenchmarkConfig | None = None, teacher: TeacherConfig | None = None,
    filters: FilterConfig | None = None, output: Path = Path("."), **settings: Any,
) -> EnvironmentRecipe:  # fmt: skip
    """The recipe of a task; a starter family's is that of `bank/starter.gin`, whatever `settings` change in it."""
    if task in STARTER_TASKS:
        continuous = registry.get(task).action_space == "continuous"
        default = {
            "annotator": "derived" if continuous else "heuristic_search",
            "source": "agentbank_jax starter",
            "trajectories": 20,
        }
        settings = {**default, **settings}
    return RecipeConfig(task=task, seed=seed, **settings).make(
        filters or FilterConfig(),
        teacher or TeacherConfig(),
        output=output,
        benchmarks=benchmarks or BenchmarkConfig(),
        sandbox=SandboxConfig(),
    )


def made(task: str, index: int = 0, seed: int = 0) -> Trajectory | Drop:
    """What becomes of a starter family's training problem, whatever the seed of the words."""
    recipe = recipe_of(task, seed=seed)
    return recipe.outcome(recipe.spec.instance("train", index)).item


def starter_trajectory(task: str, index: int = 0, seed: int = 0) -> Trajectory:
    """The trajectory of a starter family's training problem."""
    item = made(task, index, seed)
    assert isinstance(item, Trajectory), item
    return item


def gsm8k_trajectory(problem: Problem, *, seed: int = 0) -> Trajectory | Drop:
    """What becomes of a row of GSM8K."""
    solved = gsm8k.solve(problem, seed=seed)
    if isinstance(solved, Drop):
        return solved
    replayed = Replayed(observations=solved.observations, reward=1.0, final_observation="")
    thoughts = [thought or "" for thought in solved.sequence.thoughts]
    turns = conversation(replayed, thoughts, [step.action for step in solved.sequence.steps])
    return Trajectory(id=problem.id, task="gsm8k", turns=turns)


def build_in(
    folder: Path, recipes: Sequence[Recipe], *, workers: int = 1, progress: ProgressCallback | None = None
) -> list[BuildResult]:
    """Builds with processes of this machine."""
    with contextlib.closing(LocalChunks(workers)) as maker:
        return build(recipes, folder, maker=maker, progress=progress)

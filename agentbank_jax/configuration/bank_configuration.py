"""From flags and gin files to the recipes of a bank: each gin scope of `RecipeConfig` is a task."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentbank_jax.bank.environment_recipe import EnvironmentRecipe
from agentbank_jax.bank.filter_config import FilterConfig
from agentbank_jax.bank.recipe_config import RecipeConfig, TeacherConfig
from agentbank_jax.configuration import bindings
from agentbank_jax.configuration.command_line import CommandLine
from agentbank_jax.configuration.configuration import check_scopes
from agentbank_jax.configuration.gin_files import GinLoader, find_gin_file, operative_config, shipped_folder
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.sandbox_limits import SandboxConfig
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.whole_files import whole_file

STARTER = "bank/starter.gin"
"""What is made where nobody names a gin file."""

_MARK = "# Made by build_bank.py: the recipe as it ran."

_IMPORT = re.compile(r"(?:import|from) +([\w.]+)(?: +import +(\w+))?")


@dataclass(frozen=True, kw_only=True)
class BankRequest:
    """What the command line asks for.

    Fields:
      tasks: of the gin files, those that are made; all if empty.
      trajectories: of all of them together, split evenly; None leaves what the files say.
      seed: of all of them; None likewise.
      input_path: the training file of the one task's published data.
    """

    tasks: tuple[str, ...] = ()
    trajectories: int | None = None
    seed: int | None = None
    input_path: str | None = None


def read_bank(
    command_line: CommandLine, request: BankRequest, output: Path
) -> tuple[GinLoader, list[EnvironmentRecipe]]:
    """Reads the gin files, and makes the recipes.

    Args:
      command_line: names the files; without any, `bank/starter.gin`, and `bank/TASK.gin` for tasks that it has not.
      request: what the flags say.
      output: the bank's folder.

    Raises:
      AgentBankError: on an unknown task, a missing or refused value, or an environment that cannot run here.
    """
    loader = GinLoader(command_line.gin_search_paths, allow_imports=command_line.allow_imports)
    if command_line.gin_files:
        for name in command_line.gin_files:
            loader.read(name)
    else:
        bound = {name.partition("/")[0] for name, _ in command_line.overrides}
        _read_shipped(loader, [task for task in request.tasks if task not in bound], command_line.gin_search_paths)
    for name, value in command_line.overrides:
        loader.override(name, value)
    tasks = _chosen(loader, request.tasks)
    for name, value in _overrides(request, tasks):
        loader.override(name, value)
    loader.finish()
    check_scopes(loader, command_line.overrides)
    recipes = [_recipe(task, loader, output) for task in tasks]
    if request.input_path is not None and recipes[0].candidates is None:
        raise AgentBankError(
            f"--input={request.input_path}: {recipes[0].environment} reads no published data; leave --input out."
        )
    return loader, recipes


def refuse_foreign_recipe(path: Path) -> None:
    """Keeps a build from replacing a gin file that it did not write.

    Raises:
      AgentBankError: there is one.
    """
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(_MARK):
        raise AgentBankError(
            f"{path}: build_bank.py did not write it, and would put the bank's recipe in its place; choose another "
            "--output or move it away."
        )


def write_recipe(path: Path, loader: GinLoader) -> None:
    """Writes what was used, defaults included, as a gin file that makes the same again."""
    with whole_file(path) as temporary:
        temporary.write_text(f"{_MARK}\n{operative_config(loader)}", encoding="utf-8")


def _read_shipped(loader: GinLoader, tasks: Sequence[str], search_paths: Sequence[str]) -> None:
    loader.read(STARTER)
    starter = loader.scopes_of(RecipeConfig.__name__)
    shipped = sorted(path.stem for path in shipped_folder().glob("bank/*.gin"))
    for task in dict.fromkeys(tasks):
        if task in starter:
            continue
        try:
            find_gin_file(f"bank/{task}.gin", search_paths)
        except AgentBankError:
            raise AgentBankError(f"no task is called '{task}'.{did_you_mean(task, [*starter, *shipped])}") from None
        loader.read(f"bank/{task}.gin")


def _chosen(loader: GinLoader, tasks: Sequence[str]) -> list[str]:
    """The tasks to be made; a name that is a file's means all tasks of that file alone, where it has more than one."""
    known = loader.scopes_of(RecipeConfig.__name__)
    if not known:
        raise AgentBankError(
            "no gin file has a recipe; expected bindings such as mytask/RecipeConfig.annotator='derived'."
        )
    for task in tasks:
        if task not in known:
            raise AgentBankError(f"no task is called '{task}'.{did_you_mean(task, known)}")
    return list(dict.fromkeys(tasks)) or list(known)


def _overrides(request: BankRequest, tasks: Sequence[str]) -> list[tuple[str, str]]:
    """The flags as gin bindings, so that what is recorded of a bank makes it again."""
    made = []
    config = RecipeConfig.__name__
    if request.trajectories is not None:
        if request.trajectories < len(tasks):
            raise AgentBankError(
                f"--trajectories={request.trajectories}: expected at least {len(tasks)}, one for each of "
                f"{', '.join(tasks)}."
            )
        share, rest = divmod(request.trajectories, len(tasks))
        made += [(f"{task}/{config}.trajectories", str(share + (place < rest))) for place, task in enumerate(tasks)]
    if request.seed is not None:
        made += [(f"{task}/{config}.seed", str(request.seed)) for task in tasks]
    if request.input_path is not None:
        if len(tasks) > 1:
            raise AgentBankError(
                f"--input={request.input_path}: is the training file of one task's published data; expected one --task "
                f"beside it, not {len(tasks)} tasks."
            )
        made.append(
            (
                f"{BenchmarkConfig.__name__}.paths",
                repr({f"{tasks[0]}/train": str(Path(request.input_path).expanduser().absolute())}),
            )
        )
    return made


def _recipe(task: str, loader: GinLoader, output: Path) -> EnvironmentRecipe:
    values = {} if bindings.is_bound(RecipeConfig, "task", task) else {"task": task}
    return bindings.build(RecipeConfig, task, **values).make(
        bindings.build(FilterConfig, task),
        bindings.build(TeacherConfig),
        output=output,
        benchmarks=bindings.build(BenchmarkConfig),
        sandbox=bindings.build(SandboxConfig),
        imports=[module for line in loader.imports if (module := _module(line))],
    )


def _module(statement: str) -> str:
    """The module that a gin file's import statement names, where it is not this project's own or gin's."""
    match = _IMPORT.match(statement)
    assert match is not None, "gin has parsed the statement"
    name = f"{match[1]}.{match[2]}" if match[2] else match[1]
    return "" if name.startswith(("__gin__", "agentbank_jax", "tasks")) else name

"""What can be trained on: tasks and mixtures of them, declared without TensorFlow.

`tasks/` holds the declarations, one file per skill; they load when a name is first asked for.
SeqIO gets the same declarations from `agentbank_jax.tasks.seqio_registry`.
"""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from agentbank_jax.errors import AgentBankError, did_you_mean

SKILLS = ("reasoning", "math", "programming", "web", "embodied")
ACTION_SPACES = ("continuous", "discrete")

# In a skill's place: conversations in which nobody acts.
GENERAL = "general"


class DeclarationError(AgentBankError):
    """A malformed declaration, or a task or mixture that does not exist."""


class MissingFilesError(DeclarationError):
    """A task whose files are not there; the message says how a user gets them."""


@dataclass(frozen=True, kw_only=True)
class TaskDeclaration:
    """A bank of trajectories, and how an agent is told to act in it.

    Fields:
      name: unique, such as `starter_math`.
      skill: one of `SKILLS`, or `GENERAL`.
      action_space: `continuous` (free text, code, API calls) or `discrete` (a listable set).
      remedy: how a user gets the files, for the message when they are missing; `{data_dir}` stands for the data
        folder.
      config: folder of the files within the data folder; the name where it is empty.
      files: files, patterns or folders that hold the trajectories instead; in the data folder, but for those
        that start with `.`, `~` or `/`.
      layout: of the rows, as `trajectories.formats.registry` names it; `auto` tells it by a file's first row.
      environment: name of the registered environment whose instruction the task uses, so that
        training and acting use the same text.
      instruction: the instruction of a task without an environment; those of the skill `GENERAL` have
        neither, and their conversations keep what system turn they bring.
      expected_rows: trajectories that the released files hold; None where that is open.
      verified: whether `expected_rows` was read at the source.
      spoils: evaluations that a model trained on the task can no longer be judged by.

    Raises:
      DeclarationError: on a value outside the sets above, or without exactly one of `environment`
        and `instruction` where there must be one.
    """

    name: str
    skill: str
    action_space: str
    remedy: str
    config: str = ""
    files: tuple[str, ...] = ()
    layout: str = "agentbank"
    environment: str | None = None
    instruction: str | None = None
    expected_rows: int | None = None
    verified: bool = True
    spoils: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"task '{self.name}'"
        if self.skill not in (*SKILLS, GENERAL):
            raise DeclarationError(f"{where}: skill {self.skill!r}; expected one of {', '.join((*SKILLS, GENERAL))}.")
        if self.action_space not in ACTION_SPACES:
            raise DeclarationError(
                f"{where}: action space {self.action_space!r}; expected one of {', '.join(ACTION_SPACES)}."
            )
        given = (self.environment is not None) + (self.instruction is not None)
        if given != (self.skill != GENERAL):
            expected = "neither" if self.skill == GENERAL else "either"
            raise DeclarationError(f"{where}: expected {expected} of an environment's name and an instruction.")
        if not self.config:
            object.__setattr__(self, "config", self.name)

    @property
    def files_in_data_dir(self) -> tuple[str, ...]:
        """Those of `files` that lie in the data folder."""
        return tuple(name for name in self.files if not name.startswith((".", "~", "/")))

    def remedy_for(self, data_dir: str | os.PathLike[str]) -> str:
        """Returns how a user gets the files into a data folder."""
        return self.remedy.replace("{data_dir}", os.fspath(data_dir))

    def resolve_instruction(self) -> str:
        """Returns the system turn of the task's trajectories, empty where they bring their own or none."""
        if self.environment is None:
            return self.instruction or ""
        from agentbank_jax.environments import registry

        return registry.get(self.environment).instruction


@dataclass(frozen=True, kw_only=True)
class MixtureDeclaration:
    """Tasks that are trained on together.

    Fields:
      name: unique among tasks and mixtures.
      rates: passes over each task in one epoch of the mixture: 1.0 draws each trajectory once, 2.0
        twice, 0.5 half of them.

    Raises:
      DeclarationError: on no task, or a rate that is not above 0.
    """

    name: str
    rates: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.rates:
            raise DeclarationError(f"mixture '{self.name}' has no task; expected at least one.")
        for task, rate in self.rates.items():
            if not rate > 0:
                raise DeclarationError(f"mixture '{self.name}', task '{task}': rate {rate}; expected more than 0.")


_TASKS: dict[str, TaskDeclaration] = {}
_MIXTURES: dict[str, MixtureDeclaration] = {}


def declare_task(declaration: TaskDeclaration, *, replace: bool = False) -> TaskDeclaration:
    """Adds a task; the same one again is no error.

    Args:
      declaration: the task.
      replace: take the place of a task of that name, if there is one.

    Raises:
      DeclarationError: where another task or a mixture has the name already.
    """
    known = declaration if replace else _TASKS.get(declaration.name, declaration)
    if known != declaration or declaration.name in _MIXTURES:
        raise DeclarationError(f"'{declaration.name}' is declared twice; give one of the two another name.")
    _TASKS[declaration.name] = declaration
    return declaration


def declare_mixture(declaration: MixtureDeclaration, *, replace: bool = False) -> MixtureDeclaration:
    """Adds a mixture of declared tasks; the same one again is no error.

    Args:
      declaration: the mixture.
      replace: take the place of a mixture of that name, if there is one.

    Raises:
      DeclarationError: where a task is unknown, or another mixture or a task has the name already.
    """
    for task in declaration.rates:
        if task not in _TASKS:
            raise DeclarationError(
                f"mixture '{declaration.name}': no task is called '{task}'.{did_you_mean(task, _TASKS)}"
            )
    known = declaration if replace else _MIXTURES.get(declaration.name, declaration)
    if known != declaration or declaration.name in _TASKS:
        raise DeclarationError(f"'{declaration.name}' is declared twice; give one of the two another name.")
    _MIXTURES[declaration.name] = declaration
    return declaration


def get_task(name: str) -> TaskDeclaration:
    """Returns the task called `name`.

    Raises:
      DeclarationError: where there is none; the message suggests the nearest name.
    """
    _load()
    if name not in _TASKS:
        raise DeclarationError(f"no task is called '{name}'.{did_you_mean(name, _TASKS)}")
    return _TASKS[name]


def get_mixture(name: str) -> MixtureDeclaration:
    """Returns the mixture called `name`; a task's name gives the mixture of that task alone.

    Raises:
      DeclarationError: where there is none; the message suggests the nearest name.
    """
    _load()
    if name in _TASKS:
        return MixtureDeclaration(name=name, rates={name: 1.0})
    if name not in _MIXTURES:
        raise DeclarationError(f"no mixture or task is called '{name}'.{did_you_mean(name, [*_MIXTURES, *_TASKS])}")
    return _MIXTURES[name]


def task_names() -> tuple[str, ...]:
    """Returns the names of all tasks, in the order of their declaration."""
    _load()
    return tuple(_TASKS)


def mixture_names() -> tuple[str, ...]:
    """Returns the names of all mixtures, in the order of their declaration."""
    _load()
    return tuple(_MIXTURES)


def _load() -> None:
    # Imported here because the files in tasks/ import this module.
    importlib.import_module("agentbank_jax.tasks.mixtures")

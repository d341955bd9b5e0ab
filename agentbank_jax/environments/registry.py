"""One table of environments: what each is called, how an agent is told to act in it, and how to make it."""

import functools
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from agentbank_jax.environments.base import Instance, TextEnvironment
from agentbank_jax.errors import AgentBankError, did_you_mean

Skill = Literal["reasoning", "math", "programming", "web", "embodied"]
ActionSpace = Literal["continuous", "discrete"]
Split = Literal["train", "test"]

SKILLS: tuple[Skill, ...] = ("reasoning", "math", "programming", "web", "embodied")
ACTION_SPACES: tuple[ActionSpace, ...] = ("continuous", "discrete")
SPLITS: tuple[Split, ...] = ("train", "test")


class EnvironmentRegistryError(AgentBankError):
    """A malformed specification, or a name or split that does not exist."""


def _runnable() -> str | None:
    return None


def _endless(split: str) -> int | None:
    return None


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """An environment together with its generator of instances.

    Fields:
      name: unique, such as `starter_math`.
      skill: one of `SKILLS`.
      action_space: `continuous` (free text, code, API calls) or `discrete` (a listable set).
      max_steps: assistant turns after which an episode is cut off.
      protocol: engine and version, such as `intercode_sql/1`; recorded in every result.
      success_threshold: the least reward that counts as success.
      instruction: the syntax of the actions in one or two sentences; becomes the system turn.
      licence: of the instances, as an SPDX expression.
      requires: what must be installed, in words; empty where nothing is.
      held_out: whether the family is kept out of training.
      test_only: whether it has problems for tests alone: what a model was trained on are then some of them.
      make: returns a fresh engine; of a module, so that it can be sent to a worker process.
      instance: maps (split, index) to an instance; a pure function.
      size: how many instances a split has; None where they are generated without end.
      at_once: the most engines that may run at one time, for those that take much memory; None for no limit.
      reset_seconds, step_seconds: after which an engine counts as hanging.
      data_version: changes whenever the instances do; empty where they follow from the code alone.
      available: None where the test problems can be played here, else the reason why they cannot.
      engine: the same of what plays them alone, where they come from files; None where `available` says it.

    Raises:
      EnvironmentRegistryError: on a value outside the sets above.
    """

    name: str
    skill: Skill
    action_space: ActionSpace
    max_steps: int
    protocol: str
    instruction: str
    make: Callable[[], TextEnvironment]
    instance: Callable[[str, int], Instance]
    success_threshold: float = 1.0
    licence: str = "Apache-2.0"
    requires: tuple[str, ...] = ()
    held_out: bool = False
    test_only: bool = False
    size: Callable[[str], int | None] = _endless
    at_once: int | None = None
    reset_seconds: float = 120.0
    step_seconds: float = 60.0
    data_version: Callable[[], str] = str
    available: Callable[[], str | None] = _runnable
    engine: Callable[[], str | None] | None = None

    def __post_init__(self) -> None:
        where = f"environment '{self.name}'"
        if self.skill not in SKILLS:
            raise EnvironmentRegistryError(f"{where}: skill {self.skill!r}; expected one of {', '.join(SKILLS)}.")
        if self.action_space not in ACTION_SPACES:
            raise EnvironmentRegistryError(
                f"{where}: action space {self.action_space!r}; expected one of {', '.join(ACTION_SPACES)}."
            )
        if self.max_steps < 1:
            raise EnvironmentRegistryError(f"{where}: max_steps is {self.max_steps}; expected at least 1.")
        if self.at_once is not None and self.at_once < 1:
            raise EnvironmentRegistryError(f"{where}: at_once is {self.at_once}; expected at least 1, or None.")
        if not self.instruction.strip():
            raise EnvironmentRegistryError(f"{where}: the instruction is empty; expected one or two sentences.")

    def missing_engine(self) -> str | None:
        """Why problems of any split cannot be played here, whatever data are there; None where they can."""
        return (self.engine or self.available)()


_SPECS: dict[str, EnvironmentSpec] = {}


def register(spec: EnvironmentSpec) -> EnvironmentSpec:
    """Adds a specification to the table; the same one again is no error.

    Raises:
      EnvironmentRegistryError: where another specification has the name already.
    """
    known = _SPECS.setdefault(spec.name, spec)
    if known is not spec:
        raise EnvironmentRegistryError(
            f"environment '{spec.name}' is registered twice; give one of the two another name."
        )
    return spec


def get(name: str) -> EnvironmentSpec:
    """Returns the specification called `name`.

    Raises:
      EnvironmentRegistryError: where there is none; the message suggests the nearest name.
    """
    _load()
    try:
        return _SPECS[name]
    except KeyError:
        raise EnvironmentRegistryError(f"no environment is called '{name}'.{did_you_mean(name, _SPECS)}") from None


def names(*, held_out: bool | None = None, skill: str | None = None) -> tuple[str, ...]:
    """Returns the names in order of registration, optionally only held-out or held-in ones, or those of a skill."""
    _load()
    return tuple(
        spec.name
        for spec in _SPECS.values()
        if (held_out is None or spec.held_out == held_out) and (skill is None or spec.skill == skill)
    )


def register_all(specs: Iterable[EnvironmentSpec]) -> None:
    """Registers each of `specs`."""
    for spec in specs:
        register(spec)


def check_split(split: str) -> Split:
    """Returns `split` where it is one of `SPLITS`.

    Raises:
      EnvironmentRegistryError: where it is not.
    """
    if split not in SPLITS:
        raise EnvironmentRegistryError(f"split '{split}' does not exist; expected one of {', '.join(SPLITS)}.")
    return split


def check_index(name: str, split: str, index: int, size: int) -> None:
    """Refuses the number of an instance that a split does not hold.

    Raises:
      EnvironmentRegistryError: where `index` is negative or not below `size`; names the environment and the split.
    """
    if not 0 <= index < size:
        raise EnvironmentRegistryError(f"{name}: problem {index} of {split}; it holds {size}.")


@functools.cache
def _load() -> None:
    # Imported here because these modules import this one.
    from agentbank_jax.environments import published, starter

    for package in (starter, published):
        for module in package.MODULES:
            register_all(importlib.import_module(f"{package.__name__}.{module}").SPECS)

"""What a gin file may import, and gin's dynamic registration (`docs/security.md`)."""

import importlib
import sys
from types import ModuleType
from typing import Any

import gin
from gin import config_parser

from agentbank_jax.errors import AgentBankError

ALLOW_IMPORTS = "--allow_imports"

# Where gin files may import from, and the package that each is. `tasks` is never looked for on Python's path: a folder
# of that name may stand beside the gin file.
_IMPORTABLE = {"agentbank_jax": "agentbank_jax", "tasks": "agentbank_jax.tasks"}

# No module, but what lets a file name any function of the modules that it imports.
_DYNAMIC_REGISTRATION = "__gin__.dynamic_registration"


class GinConfigError(AgentBankError):
    """A gin file, name or value that cannot be used."""


def import_module(statement: config_parser.ImportStatement, allowed: bool) -> ModuleType | None:
    """Imports what a gin file names; returns None for dynamic registration, which is no module.

    Args:
      statement: of the file.
      allowed: whether it may import what is not this project's.

    Raises:
      GinConfigError: where it may not, before the module is looked for, or where there is no such module.
    """
    root, dot, rest = statement.module.partition(".")
    dynamic = statement.module == _DYNAMIC_REGISTRATION
    if root not in _IMPORTABLE and not allowed:
        does = "let the file call any function that it names" if dynamic else "run the code of that module"
        raise GinConfigError(
            f"'{statement.format()}' would {does}; gin files import from {' and '.join(_IMPORTABLE)} alone, unless "
            f"{ALLOW_IMPORTS} is given: give it for files that you trust."
        )
    if dynamic:
        return None
    name = _IMPORTABLE.get(root, root) + dot + rest
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise GinConfigError(f"cannot import '{name}': {error}.") from None


def is_configurable(selector: str) -> bool:
    """Whether gin knows a name.

    Raises:
      GinConfigError: where it is the end of several names.
    """
    try:
        gin.get_configurable(selector)
    except ValueError:
        return False
    except KeyError as error:
        raise GinConfigError(f"{error.args[0]} Write more of the name.") from None
    return True


class Registration:
    """What a file with dynamic registration imports; each function in it is registered when it is named."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {}
        self._modules: dict[str, ModuleType] = {}

    def add(self, statement: config_parser.ImportStatement, module: ModuleType) -> None:
        """Notes what an import makes a name, and under which name the module itself is reached."""
        short = statement.is_from or statement.alias
        self._names[statement.bound_name()] = module if short else sys.modules[module.__name__.split(".", 1)[0]]
        self._modules[statement.bound_name() if short else statement.module] = module

    def register(self, selector: str) -> None:
        """Registers the function that is called so, if there is one.

        gin writes the end of a name into an operative configuration, where it is unique: that finds it too.
        """
        first, *_ = selector.split(".")
        places: list[tuple[str, Any]] = [(f"{name}.{selector}", module) for name, module in self._modules.items()]
        if first in self._names:
            places.insert(0, (selector, self._names[first]))
        for whole, value in places:
            place, _, name = whole.rpartition(".")
            for part in selector.split(".")[whole == selector :]:
                value = getattr(value, part, None)
            if callable(value):
                gin.external_configurable(value, name=name, module=place)
                return

"""Which source files a bank follows from: a changed generator makes another bank."""

import functools
import hashlib
import importlib
import importlib.util
from collections.abc import Iterable
from modulefinder import ModuleFinder
from pathlib import Path

from agentbank_jax.environments import published, starter

_PACKAGE = Path(__file__).resolve().parents[1]


@functools.cache
def declaring_modules() -> dict[str, str]:
    """Name of an environment → the module of this project that declares it."""
    return {
        spec.name: name
        for package in (starter, published)
        for name in (f"{package.__name__}.{module}" for module in package.MODULES)
        for spec in importlib.import_module(name).SPECS
    }


def source_hash(modules: Iterable[str]) -> str:
    """The SHA-256 of modules and of all that they import of this project, wherever in them the import stands."""
    digest = hashlib.sha256()
    for file in source_files(modules):
        inside = file.is_relative_to(_PACKAGE)
        digest.update(f"{file.relative_to(_PACKAGE).as_posix() if inside else file.name}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def source_files(modules: Iterable[str]) -> list[Path]:
    """The files of `source_hash`, sorted."""
    return sorted({file for module in modules for file in _closure(module)})


@functools.cache
def _closure(module: str) -> frozenset[Path]:
    found = importlib.util.find_spec(module)
    own = Path(found.origin).resolve() if found is not None and found.origin else None
    # Of other packages the versions are recorded, not the code.
    finder = ModuleFinder(path=[str(_PACKAGE.parent)])
    if own is not None and own.is_relative_to(_PACKAGE):
        finder.import_hook(module)
    elif own is not None:
        finder.run_script(str(own))
    places = (getattr(each, "__file__", None) for each in finder.modules.values())
    files = (Path(place).resolve() for place in places if place)
    return frozenset(file for file in files if file == own or file.is_relative_to(_PACKAGE))

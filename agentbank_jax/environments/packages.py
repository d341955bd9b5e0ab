"""Which packages are installed, without importing them."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def installed_version(package: str) -> str:
    """The version of a package, or `not installed`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def missing_package(requirement: str, *modules: str) -> str | None:
    """None where all of `modules` are there, else what to install."""
    missing = [module for module in modules if find_spec(module) is None]
    if not missing:
        return None
    verb = "is" if len(missing) == 1 else "are"
    return f"{' and '.join(missing)} {verb} not installed; install with: pip install '{requirement}'"

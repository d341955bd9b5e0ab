"""Games that run in a Java virtual machine, which py4j starts beside the Python process."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agentbank_jax.environments.packages import missing_package

OPTIONS_VARIABLE = "JAVA_TOOL_OPTIONS"

# Without a limit ScienceWorld's machine grows to several gigabytes. And without one hash for all objects the order of
# its sets is another after other episodes, and with it the order in which things are named and tried.
MACHINE_OPTIONS = "-Xmx512m -XX:+IgnoreUnrecognizedVMOptions -XX:+UnlockExperimentalVMOptions -XX:hashCode=2"

_CLOSING_SECONDS = 5.0


def missing_java_game(package: str, module: str) -> str | None:
    """None where a package that needs Java can run here, else what to install."""
    missing = missing_package(package, module)
    if missing is None and shutil.which("java") is None:
        return "no Java runtime is found; install one, such as Debian's openjdk-17-jre-headless"
    return missing


@contextmanager
def machine_options() -> Iterator[None]:
    """A machine started inside has `MACHINE_OPTIONS`, unless the user's own JAVA_TOOL_OPTIONS say otherwise."""
    chosen = os.environ.get(OPTIONS_VARIABLE)
    os.environ[OPTIONS_VARIABLE] = f"{MACHINE_OPTIONS} {chosen}" if chosen else MACHINE_OPTIONS
    try:
        yield
    finally:
        if chosen is None:
            del os.environ[OPTIONS_VARIABLE]
        else:
            os.environ[OPTIONS_VARIABLE] = chosen


def close_machine(game: Any) -> None:
    """Closes a game of py4j's and waits until its machine is gone."""
    process: subprocess.Popen[bytes] = game._gateway.java_process
    game.close()
    try:
        process.wait(_CLOSING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()

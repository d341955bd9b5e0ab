"""Games that run in a Java virtual machine, which py4j starts beside the Python process."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agentbank_jax.environments.packages import missing_package

OPTIONS_VARIABLE = "JAVA_TOOL_OPTIONS"

# Without a limit ScienceWorld's machine grows to several gigabytes.
MEMORY = "-Xmx512m"

_CLOSING_SECONDS = 5.0


def missing_java_game(package: str, module: str) -> str | None:
    """None where a package that needs Java can run here, else what to install."""
    missing = missing_package(package, module)
    if missing is None and shutil.which("java") is None:
        return "no Java runtime is found; install one, such as Debian's openjdk-17-jre-headless"
    return missing


@contextmanager
def limited_memory() -> Iterator[None]:
    """A machine started inside has `MEMORY`, unless the user's own JAVA_TOOL_OPTIONS say otherwise."""
    chosen = os.environ.get(OPTIONS_VARIABLE)
    os.environ[OPTIONS_VARIABLE] = f"{MEMORY} {chosen}" if chosen else MEMORY
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

"""Environments that do what engines do at their worst."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.agents.counting import CountingEnvironment


class FaultyEnvironment(CountingEnvironment):
    """Fails at its first step in the way that its fault says, as long as the file `cure` is not there.

    Args:
      fault: `kill`, `exit`, `hang`, `hang_in_c`, `raise`, `info` (what cannot be sent), `no_number` and `too_much`
        (rewards), `no_text` or `print`.
      cure: made at the first failure, where there is one; the next try then succeeds.
      children: where the id of a program that it starts is written; none is started without it.
    """

    def __init__(self, fault: str, cure: str | None = None, children: str | None = None) -> None:
        self._fault, self._cure, self._children = fault, cure, children

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        if self._children:
            child = subprocess.Popen(["sleep", "300"])
            with Path(self._children).open("a") as file:
                file.write(f"{child.pid}\n")
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._cure and Path(self._cure).exists():
            return super().step(action)
        if self._cure:
            Path(self._cure).touch()
        match self._fault:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                print("the engine is out of memory", file=sys.stderr, flush=True)
                os._exit(3)
            case "hang":
                time.sleep(300)
            case "hang_in_c":  # holds the interpreter's lock
                re.match(r"(a+)+$", "a" * 64 + "b")
            case "raise":
                raise RuntimeError("the engine broke")
            case "info":
                return "", 0.0, False, False, {"engine": lambda: None}
            case "no_number":
                return "", float("nan"), False, False, {}
            case "too_much":
                return "", 7.0, True, False, {}
            case "no_text":
                return None, 0.0, False, False, {}  # type: ignore[return-value]
            case "print":
                print("x" * (1 << 20), flush=True)
        return super().step(action)


class CountingMakes(CountingEnvironment):
    """Says which of its process's environments it is, and which process that is."""

    made = 0

    def __init__(self) -> None:
        CountingMakes.made += 1
        self.number = CountingMakes.made

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return f"{os.getpid()} {self.number}", {}

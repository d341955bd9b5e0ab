"""What a sandboxed command may use, what became of it, and how strongly it is held apart."""

import os
import sys
from dataclasses import dataclass
from typing import Literal, get_args

from agentbank_jax.errors import AgentBankError, did_you_mean

Isolation = Literal["bubblewrap", "rlimits"]
StopReason = Literal["wall_seconds", "output_bytes", "memory_bytes", "disk_bytes", "files", "processes"]

# Inherited by the processes that engines run in.
ISOLATION_VARIABLE = "AGENTBANK_SANDBOX"

WEAKER = (
    "warning: the sandbox is weaker with SandboxConfig.isolation='rlimits': model-written programs can use the "
    "network, read every file that this user can read, write wherever it may write, see and end other processes of "
    "their user, and leave processes behind that hide from it. Limits of time, memory, processes, files and output "
    "are held."
)


class SandboxError(AgentBankError):
    """The sandbox cannot be used; what happens inside it is never an error."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one command may use.

    Fields:
      wall_seconds: real time, for the command and all it starts.
      cpu_seconds: processor time of each process, whole seconds.
      memory_bytes: address space of each process, and memory of all of them together.
      processes: processes and threads at one time.
      open_files: descriptors of each process.
      file_bytes: size of each file written.
      disk_bytes: sizes of all files under the root together, holes and what is deleted but open included.
      files: files and directories under the root; more than `sandbox_tree.MAX_DEPTH` levels count as too many.
      output_bytes: standard output and error together.

    A command that exceeds `wall_seconds`, `output_bytes`, the common part of `memory_bytes`, `disk_bytes` or `files`
    is stopped; the last three are looked at every 50 ms and at its end, so that they are exceeded a little.
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 5
    memory_bytes: int = 512 << 20
    processes: int = 32
    open_files: int = 64
    file_bytes: int = 16 << 20
    disk_bytes: int = 128 << 20
    files: int = 10_000
    output_bytes: int = 1 << 16

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise SandboxError(f"sandbox limit {name} is {value}; expected more than 0.")


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What became of a command.

    Fields:
      output: standard output and standard error as they came, undecodable bytes replaced.
      exit_code: as the shell reports it; None where the command was stopped.
      stopped: the limit for which it was stopped; None where it ended by itself.
      seconds: real time.
    """

    output: str
    exit_code: int | None
    stopped: StopReason | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """How programs that a model wrote are held apart from the machine.

    Fields:
      isolation: `bubblewrap`, a file system, network, user and process table of their own; or `rlimits`, the weaker
        one for machines where bubblewrap cannot run: limits alone, for Python programs alone.

    Raises:
      SandboxError: on another isolation.
    """

    isolation: Isolation = "bubblewrap"

    def __post_init__(self) -> None:
        if self.isolation not in get_args(Isolation):
            raise SandboxError(
                f"SandboxConfig.isolation is '{self.isolation}'; expected bubblewrap or rlimits."
                f"{did_you_mean(self.isolation, get_args(Isolation))}"
            )


def configure(config: SandboxConfig) -> None:
    """Lets all sandboxes of this process, and of those that it starts from now on, be as `config` says.

    Says on standard error what `rlimits` does not hold.
    """
    if config.isolation == "rlimits" and isolation() != "rlimits":
        print(WEAKER, file=sys.stderr)
    os.environ[ISOLATION_VARIABLE] = config.isolation


def isolation() -> Isolation:
    """The isolation in force.

    Raises:
      SandboxError: where the environment variable AGENTBANK_SANDBOX names none.
    """
    return SandboxConfig(isolation=os.environ.get(ISOLATION_VARIABLE, "bubblewrap")).isolation  # type: ignore[arg-type]

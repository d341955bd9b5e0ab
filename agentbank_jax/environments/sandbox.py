"""Runs a shell command with no network, few mounts and hard limits, inside bubblewrap.

The command sees a directory of the caller's as `/` (writable), the system's programs and libraries
read-only, its own `/proc` and `/dev`, and nothing else of the host. Started by root, it gives root
up first, since `RLIMIT_NPROC` does not bind root.
"""

import functools
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentbank_jax.errors import AgentBankError

# The ids of `nobody` and `nogroup`, which the command runs as where the caller is root.
SANDBOX_UID = 65534
SANDBOX_GID = 65534

# Mounted or made afresh inside; never part of what a command has changed.
SYSTEM_DIRECTORIES = ("bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr")

# Of the host's /etc only what programs need to start: the linker's cache and the links to awk and others.
_ETC = ("/etc/alternatives", "/etc/ld.so.cache")
# Links into /usr on most systems, directories on others.
_OUTSIDE_USR = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_USERS = b"agent:x:1000:1000::/:/bin/bash\n"

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8", "TZ": "UTC"}

_CHUNK = 1 << 16
# The kernel takes no argument of 128 KiB or more.
MAX_COMMAND_BYTES = 100_000


class SandboxError(AgentBankError):
    """The sandbox cannot be used; what happens inside it is never an error."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one command may use.

    Fields:
      wall_seconds: real time, for the command and all it starts.
      cpu_seconds: processor time of each process, whole seconds.
      memory_bytes: address space of each process.
      processes: processes and threads at one time.
      file_bytes: size of each file written.
      output_bytes: standard output and error together; the command is stopped beyond it.
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 5
    memory_bytes: int = 512 << 20
    processes: int = 32
    file_bytes: int = 16 << 20
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
      stopped: why it was stopped: `wall_seconds` or `output_bytes`; None where it ended by itself.
      seconds: real time.
    """

    output: str
    exit_code: int | None
    stopped: Literal["wall_seconds", "output_bytes"] | None
    seconds: float


def run_shell(command: str, *, root: Path, cwd: str = "/", limits: Limits | None = None) -> Completed:
    """Runs `bash -c command` with the directory `root` as `/`.

    Args:
      command: shell text, at most `MAX_COMMAND_BYTES` bytes and without NUL.
      root: a directory that belongs to the sandbox, as `sandbox_root` makes it; what the command
        writes stays there.
      cwd: working directory inside.
      limits: by default `Limits()`.

    Raises:
      SandboxError: where bubblewrap is absent, or the command is too long or holds NUL.
    """
    limits = limits or Limits()
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError(_ABSENT)
    script = command.encode("utf-8", "replace")
    if len(script) > MAX_COMMAND_BYTES or b"\0" in script:
        raise SandboxError(
            f"a command of {len(script)} bytes: expected at most {MAX_COMMAND_BYTES} bytes and no NUL byte."
        )
    ulimits = (
        f"ulimit -c 0 -n 256 -t {limits.cpu_seconds} -v {limits.memory_bytes >> 10} "
        f"-f {max(1, limits.file_bytes >> 10)} -u {limits.processes}"
    )
    # The limits are set inside, where only the sandbox's own processes count against them, by a shell
    # that stays the first process: limits end a process by a signal, which the first would not obey.
    shell = shutil.which("bash", path="/usr/bin:/bin") or "/bin/bash"
    users = os.memfd_create("users")
    try:
        os.write(users, _USERS)
        os.lseek(users, 0, os.SEEK_SET)
        arguments: list[str | bytes] = [
            program, *_mounts(root, users), "--chdir", cwd, "--",
            shell, "-c", f'{ulimits} && "$@"; exit $?', "sandbox", shell, "-c", script,
        ]  # fmt: skip
        drop_root = os.geteuid() == 0
        started = time.monotonic()
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=(users,),
            user=SANDBOX_UID if drop_root else None,
            group=SANDBOX_GID if drop_root else None,
            extra_groups=[] if drop_root else None,
        )
    finally:
        os.close(users)
    try:
        output, stopped = _read(process, started + limits.wall_seconds, limits.output_bytes)
    finally:
        _end(process)
        assert process.stdout is not None
        process.stdout.close()
    return Completed(
        output=output.decode("utf-8", "replace"),
        exit_code=None if stopped else process.returncode,
        stopped=stopped,
        seconds=time.monotonic() - started,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills what still runs: all processes inside die with the first, which bubblewrap then reaps and ends itself."""
    if process.poll() is not None:
        return
    try:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        process.wait(1.0)
    except (OSError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def _read(
    process: subprocess.Popen[bytes], deadline: float, most: int
) -> tuple[bytes, Literal["wall_seconds", "output_bytes"] | None]:
    """Reads the output until the process ends, time is up, or there is too much of it."""
    assert process.stdout is not None
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return bytes(output), "wall_seconds"
            chunk = os.read(process.stdout.fileno(), _CHUNK)
            if not chunk:
                break
            output += chunk
            if len(output) > most:
                return bytes(output[:most]), "output_bytes"
    try:
        # The output is closed; the command may still run.
        process.wait(max(0.01, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return bytes(output), "wall_seconds"
    return bytes(output), None


def _mounts(root: Path, users: int) -> Iterator[str]:
    yield from ("--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox")
    yield from ("--uid", "1000", "--gid", "1000")
    yield from ("--bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/usr", "/usr")
    for name in _OUTSIDE_USR:
        if os.path.isdir(name) and not os.path.islink(name):
            yield from ("--ro-bind", name, name)
    # A mount of its own: a command cannot rename it and so lead the mounts of the next one astray.
    yield from ("--tmpfs", "/etc", "--ro-bind-data", str(users), "/etc/passwd")
    for name in _ETC:
        yield from ("--ro-bind-try", name, name)
    yield from ("--remount-ro", "/etc")


@contextmanager
def sandbox_root() -> Iterator[Path]:
    """A temporary directory that a sandboxed command may write to; removed at the end, whatever is in it."""
    with tempfile.TemporaryDirectory(prefix="agentbank-sandbox-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        for made in ("dev", "etc", "proc", "tmp", "usr"):
            (root / made).mkdir()
        for outside in _OUTSIDE_USR:
            if os.path.islink(outside):
                os.symlink(os.readlink(outside), root / outside.lstrip("/"))
        give_to_sandbox(root)
        yield root


def give_to_sandbox(root: Path) -> None:
    """Makes everything under `root` belong to the user that commands run as."""
    if os.geteuid() != 0:
        return
    for directory, folders, files in os.walk(root):
        os.chown(directory, SANDBOX_UID, SANDBOX_GID)
        for name in (*folders, *files):
            os.chown(os.path.join(directory, name), SANDBOX_UID, SANDBOX_GID, follow_symlinks=False)


_ABSENT = "bubblewrap is not installed (Debian, Ubuntu: apt-get install bubblewrap)"


@functools.cache
def available() -> str | None:
    """None where commands can be sandboxed, else the reason why not; found by running `true` once."""
    if shutil.which("bwrap") is None:
        return _ABSENT
    with sandbox_root() as root:
        try:
            completed = run_shell("true", root=root)
        except OSError as error:
            return f"bubblewrap cannot be started here: {error}"
    if completed.exit_code == 0:
        return None
    first_line = completed.output.strip().split("\n", 1)[0] or f"exit code {completed.exit_code}"
    return f"bubblewrap cannot make a sandbox here: {first_line}"

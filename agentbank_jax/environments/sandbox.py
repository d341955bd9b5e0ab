"""Runs programs that a model wrote with no network, few mounts and hard limits, inside bubblewrap.

A command sees a directory of the caller's as `/` (writable), the system's programs and libraries
read-only, its own `/proc` and `/dev`, and nothing else of the host. Started by root, it gives root
up first, since `RLIMIT_NPROC` does not bind root. What a weaker isolation leaves out,
`sandbox_limits.WEAKER` says.
"""

import functools
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentbank_jax.environments import sandbox_tree, sandbox_watch
from agentbank_jax.environments.sandbox_limits import (
    Completed,
    Isolation,
    Limits,
    SandboxConfig,
    SandboxError,
    configure,
    isolation,
)
from agentbank_jax.environments.sandbox_seccomp import machine_supported, seccomp_filter
from agentbank_jax.temporary_folders import make_temporary

__all__ = [
    "MAX_COMMAND_BYTES", "PYTHON", "SANDBOX_GID", "SANDBOX_UID", "SYSTEM_DIRECTORIES", "Completed", "Isolation",
    "Limits", "SandboxConfig", "SandboxError", "available", "configure", "give_to_sandbox", "isolation", "run_program",
    "run_python", "run_shell", "sandbox_root",
]  # fmt: skip

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

_PATH = "/usr/local/bin:/usr/bin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "HOME": "/", "LANG": "C.UTF-8", "TZ": "UTC"}
_MARK = "SANDBOX_ID"

# The kernel takes no argument of 128 KiB or more.
MAX_COMMAND_BYTES = 100_000

PYTHON = shutil.which("python3", path=_PATH)
"""The interpreter for programs inside, which must be the system's own; None where there is none."""


def run_shell(command: str, *, root: Path, cwd: str = "/", limits: Limits | None = None) -> Completed:
    """Runs `bash -c command` with the directory `root` as `/`.

    Args:
      command: shell text, at most `MAX_COMMAND_BYTES` bytes and without NUL.
      root: a directory that belongs to the sandbox, as `sandbox_root` makes it; what the command
        writes stays there.
      cwd: working directory inside.
      limits: by default `Limits()`.

    Under the isolation `rlimits` the command starts in `root` and `cwd`, but `/` is the machine's.

    Raises:
      SandboxError: where bubblewrap is absent, or the command is too long or holds NUL.
    """
    return run_program([_bash(), "-c", command], root=root, cwd=cwd, limits=limits)


def run_python(
    source: str, *, root: Path, arguments: Sequence[str] = (), cwd: str = "/", limits: Limits | None = None
) -> Completed:
    """Runs a Python program with the system's interpreter; see `run_shell`.

    Args:
      source: the program, at most `MAX_COMMAND_BYTES` bytes and without NUL.
      root: as for `run_shell`.
      arguments: `sys.argv[1:]`.
      cwd: working directory inside.
      limits: by default `Limits()`.

    Raises:
      SandboxError: also where the system has no Python.
    """
    if PYTHON is None:
        raise SandboxError(_NO_PYTHON)
    return run_program([PYTHON, "-I", "-c", source, *arguments], root=root, cwd=cwd, limits=limits)


def run_program(
    program: Sequence[str],
    *,
    root: Path,
    cwd: str = "/",
    limits: Limits | None = None,
    descriptors: Sequence[int] = (),
    own_limits: bool = False,
) -> Completed:
    """Runs a program; `run_shell` and `run_python` are what most callers want.

    Args:
      program: an absolute path and its arguments.
      root: as for `run_shell`.
      cwd: working directory inside.
      limits: by default `Limits()`.
      descriptors: of ours, open inside under the same numbers.
      own_limits: the program sets the limits of each process itself and becomes the first process; else a shell
        that it cannot see into does and is.

    Raises:
      SandboxError: where the isolation in force is not to be had, or an argument is too long or holds NUL.
    """
    limits = limits or Limits()
    weaker = isolation() == "rlimits"
    words = [word.encode("utf-8", "replace") for word in program]
    for word in words:
        if len(word) > MAX_COMMAND_BYTES or b"\0" in word:
            raise SandboxError(
                f"a command of {len(word)} bytes: expected at most {MAX_COMMAND_BYTES} bytes and no NUL byte."
            )
    if not own_limits:
        words = [*_under_limits(limits, count_processes=not weaker), *words]
    mark = secrets.token_hex(16)
    opened: list[int] = []
    try:
        arguments: list[str | bytes] = list(words)
        if not weaker:
            arguments = [*_bubblewrap(root, cwd, opened), *words]
        drop_root = os.geteuid() == 0
        started = time.monotonic()
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**_ENVIRONMENT, _MARK: mark} if weaker else _ENVIRONMENT,
            cwd=root / cwd.lstrip("/") if weaker else "/",
            start_new_session=True,
            pass_fds=(*opened, *descriptors),
            user=SANDBOX_UID if drop_root else None,
            group=SANDBOX_GID if drop_root else None,
            extra_groups=[] if drop_root else None,
        )
    finally:
        for descriptor in opened:
            os.close(descriptor)
    try:
        output, stopped = sandbox_watch.watch(process, root, limits, count_processes=weaker)
    finally:
        if weaker:
            sandbox_watch.end_marked(process, f"{_MARK}={mark}".encode())
        else:
            sandbox_watch.end(process)
        assert process.stdout is not None
        process.stdout.close()
    return Completed(
        output=output.decode("utf-8", "replace"),
        # A shell adds 128 to the number of the signal that ended a program.
        exit_code=None if stopped else process.returncode if process.returncode >= 0 else 128 - process.returncode,
        stopped=stopped,
        seconds=time.monotonic() - started,
    )


def _bash() -> str:
    return shutil.which("bash", path="/usr/bin:/bin") or "/bin/bash"


def _under_limits(limits: Limits, *, count_processes: bool) -> Iterator[bytes]:
    """The beginning of a command that sets the limits of each process before it runs the rest.

    They are set inside, where only the sandbox's own processes count against them, by a shell
    that stays the first process: limits end a process by a signal, which the first would not obey.
    """
    ulimits = (
        f"ulimit -c 0 -n {limits.open_files} -t {limits.cpu_seconds} -v {limits.memory_bytes >> 10} "
        f"-f {max(1, limits.file_bytes >> 10)}"
    )
    if count_processes:
        ulimits += f" -u {limits.processes}"
    # Where the machine runs out of memory all the same, these processes end first.
    preferred = "echo 1000 2> /dev/null > /proc/self/oom_score_adj"
    bash = _bash().encode()
    yield from (bash, b"-c", f'{preferred}; {ulimits} && "$@"; exit $?'.encode(), b"sandbox")


def _bubblewrap(root: Path, cwd: str, opened: list[int]) -> Iterator[str]:
    """The beginning of a command line up to the program; opens descriptors that the process must get."""
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError(_ABSENT)
    yield program
    yield from ("--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox")
    yield from ("--uid", "1000", "--gid", "1000", "--seccomp", _holding(seccomp_filter(), opened))
    # Nothing but the root may be written to: what a command writes is measured there.
    yield from ("--bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev")
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _OUTSIDE_USR:
        if os.path.isdir(name) and not os.path.islink(name):
            yield from ("--ro-bind", name, name)
    # A mount of its own: a command cannot rename it and so lead the mounts of the next one astray.
    yield from ("--tmpfs", "/etc", "--ro-bind-data", _holding(_USERS, opened), "/etc/passwd")
    for name in _ETC:
        yield from ("--ro-bind-try", name, name)
    yield from ("--remount-ro", "/etc", "--chdir", cwd, "--")


def _holding(content: bytes, opened: list[int]) -> str:
    """A descriptor from which `content` can be read."""
    descriptor = os.memfd_create("sandbox")
    opened.append(descriptor)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return str(descriptor)


@contextmanager
def sandbox_root() -> Iterator[Path]:
    """A temporary directory that a sandboxed command may write to; removed at the end, whatever is in it."""
    root = make_temporary("agentbank-sandbox", remove=sandbox_tree.remove)
    try:
        for made in ("dev", "etc", "proc", "tmp", "usr"):
            (root / made).mkdir()
        for outside in _OUTSIDE_USR:
            if os.path.islink(outside):
                os.symlink(os.readlink(outside), root / outside.lstrip("/"))
        give_to_sandbox(root)
        yield root
    finally:
        sandbox_tree.remove(root)


def give_to_sandbox(root: Path) -> None:
    """Makes everything under `root` belong to the user that commands run as."""
    if os.geteuid() != 0:
        return
    for directory, folders, files in os.walk(root):
        os.chown(directory, SANDBOX_UID, SANDBOX_GID)
        for name in (*folders, *files):
            os.chown(os.path.join(directory, name), SANDBOX_UID, SANDBOX_GID, follow_symlinks=False)


_ABSENT = "bubblewrap is not installed (Debian, Ubuntu: apt-get install bubblewrap)"
_NO_PYTHON = "the system has no python3 in /usr/bin or /usr/local/bin (Debian, Ubuntu: apt-get install python3)"


def available(*, file_system: bool = True, python: bool = False) -> str | None:
    """None where commands can be sandboxed as configured, else the reason why not and the remedy.

    Args:
      file_system: whether a command must see `root` as `/`, which the isolation `rlimits` does not give.
      python: whether programs in Python are to be run.
    """
    if python and PYTHON is None:
        return _NO_PYTHON
    if isolation() == "rlimits":
        if file_system:
            return "a file system of its own needs SandboxConfig.isolation='bubblewrap'; it is 'rlimits'"
        return None
    return _bubblewrap_available()


@functools.cache
def _bubblewrap_available() -> str | None:
    """Found by running `true` once."""
    if shutil.which("bwrap") is None:
        return _ABSENT
    if not machine_supported():
        return f"the sandbox has no filter of system calls for {os.uname().machine}; expected x86_64 or aarch64"
    with sandbox_root() as root:
        try:
            completed = run_shell("true", root=root)
        except OSError as error:
            return f"bubblewrap cannot be started here: {error}"
    if completed.exit_code == 0:
        return None
    first_line = completed.output.strip().split("\n", 1)[0] or f"exit code {completed.exit_code}"
    return f"bubblewrap cannot make a sandbox here: {first_line}"

"""Reads what a sandboxed command says, and stops it when it and all that it started have used too much."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agentbank_jax.environments import sandbox_tree
from agentbank_jax.environments.sandbox_limits import Limits, StopReason

_CHUNK = 1 << 16
_EVERY_SECONDS = 0.05
# Of the time at most a fifth goes into looking.
_PAUSE_PER_LOOK = 4


def watch(
    process: subprocess.Popen[bytes], root: Path, limits: Limits, *, count_processes: bool
) -> tuple[bytes, StopReason | None]:
    """Reads the output of a process until it ends, or is to be stopped.

    Args:
      process: the command, or what holds it; its output is a pipe.
      root: the directory that it writes to.
      limits: of time, output, memory, disk and files; counted from now on.
      count_processes: hold `limits.processes` too, where the kernel cannot.

    Returns:
      The output, and the limit that was exceeded. The process may still run then.
    """
    assert process.stdout is not None
    deadline = time.monotonic() + limits.wall_seconds
    look = time.monotonic() + _EVERY_SECONDS
    output = bytearray()
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(max(0.0, min(look, deadline) - time.monotonic()))}
                now = time.monotonic()
                if now >= deadline:
                    return bytes(output), "wall_seconds"
                if now >= look:
                    if reason := _exceeded(process.pid, root, limits, count_processes):
                        return bytes(output), reason
                    took = time.monotonic() - now
                    look = now + took + max(_EVERY_SECONDS, _PAUSE_PER_LOOK * took)
                if process.stdout.fileno() in ready:
                    chunk = os.read(process.stdout.fileno(), _CHUNK)
                    output += chunk
                    if len(output) > limits.output_bytes:
                        return bytes(output[: limits.output_bytes]), "output_bytes"
                    if chunk:
                        continue
                    selector.unregister(process.stdout)
                if ended in ready:
                    break
    finally:
        os.close(ended)
    process.wait()
    return bytes(output), sandbox_tree.exceeded(root, limits)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills what still runs of a command in a process table of its own.

    All processes inside die with the first, which bubblewrap then reaps and ends itself.
    """
    if process.poll() is not None:
        return
    try:
        for child in _children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.wait(1.0)
    except (OSError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def end_marked(process: subprocess.Popen[bytes], mark: bytes) -> None:
    """Kills a command and every process whose environment holds `mark`, until there is none."""
    process.kill()
    process.wait()
    # Each round may meet what was started during the one before.
    for _ in range(100):
        found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _holds(path / "environ", mark)]
        if not found:
            return
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _holds(path: Path, mark: bytes) -> bool:
    try:
        return mark in path.read_bytes()
    except OSError:
        return False


def _exceeded(pid: int, root: Path, limits: Limits, count_processes: bool) -> StopReason | None:
    pids = list(descendants(pid))
    if count_processes and len(pids) > limits.processes:
        return "processes"
    memory = 0
    unlinked: dict[bytes, int] = {}
    shared: dict[bytes, int] = {}
    for descendant in pids:
        memory += _private_bytes(descendant)
        for key, (size, in_memory) in _nameless(descendant).items():
            table = shared if in_memory else unlinked
            table[key] = max(size, table.get(key, 0))
    if memory + sum(shared.values()) > limits.memory_bytes:
        return "memory_bytes"
    return sandbox_tree.exceeded(root, limits, beside=sum(unlinked.values()))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())
    except OSError:  # it has ended
        pass
    return found


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and that they have."""
    for child in _children(pid):
        yield child
        yield from descendants(child)


def _private_bytes(pid: int) -> int:
    """Memory of a process alone, swapped out or not; what its files and shared memory take is left out."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in status.split(b"\n") if line.startswith((b"RssAnon:", b"VmSwap:")))


def _nameless(pid: int) -> dict[bytes, tuple[int, bool]]:
    """What a process holds of files without a name: identity → (bytes, whether in memory)."""
    found: dict[bytes, tuple[int, bool]] = {}
    try:
        for line in Path(f"/proc/{pid}/maps").read_bytes().split(b"\n"):
            if not line.endswith(b"(deleted)"):
                continue
            addresses, _, offset, device, inode, name = line.split(maxsplit=5)
            first, last = (int(address, 16) for address in addresses.split(b"-"))
            key = device + b" " + inode
            size = int(offset, 16) + last - first
            found[key] = max(size, found.get(key, (0, False))[0]), name.startswith(b"/dev/zero")
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            try:
                status = os.stat(f"/proc/{pid}/fd/{descriptor}")
            except OSError:
                continue
            if status.st_nlink == 0 and status.st_size:
                key = b"%02x:%02x %d" % (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
                found[key] = max(status.st_size, found.get(key, (0, False))[0]), False
    except OSError:  # it has ended
        pass
    return found

"""The files that sandboxed commands leave: walked, measured and removed without following where they lead.

Names, depths, modes and kinds of the files are the command's choice, and some change while one looks.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from agentbank_jax.environments.sandbox_limits import Limits

# Each level takes a descriptor of ours while it is walked.
MAX_DEPTH = 100

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class TooDeep(Exception):
    """Directories nested more than `MAX_DEPTH` levels."""


def walk(root: Path) -> Iterator[tuple[str, int, "os.DirEntry[str]"]]:
    """Yields everything under `root`: path from it, descriptor of the directory that holds it, and the entry.

    A directory comes whole before what its directories hold. No link is followed, whatever is exchanged meanwhile. A
    directory that its modes hide from us is made readable. The descriptor is valid until the next entry is asked for.

    Raises:
      TooDeep: at a directory below `MAX_DEPTH` levels.
    """
    yield from _walk("", os.open(root, _OPEN_DIRECTORY), MAX_DEPTH)


def _walk(prefix: str, directory: int, levels: int) -> Iterator[tuple[str, int, "os.DirEntry[str]"]]:
    try:
        folders = []
        with os.scandir(directory) as entries:
            for entry in entries:
                yield prefix + entry.name, directory, entry
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
        if folders and not levels:
            raise TooDeep
        for name in folders:
            try:
                opened = _open_directory(name, directory)
            except OSError:  # it is gone, or has become something else
                continue
            yield from _walk(f"{prefix}{name}/", opened, levels - 1)
    finally:
        os.close(directory)


def _open_directory(name: str, parent: int) -> int:
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    except PermissionError:
        make_readable(name, parent)
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)


def make_readable(name: str, parent: int) -> None:
    """Gives its owner the right to read a file, or to work in a directory, that a command took away.

    Args:
      name: an entry of the directory `parent`; of a link nothing is changed.
      parent: a descriptor.
    """
    # Of the file itself, not of its name: the name may lead elsewhere by now.
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISLNK(mode):
            wanted = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR
            os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(mode) | wanted)
    finally:
        os.close(descriptor)


def exceeded(root: Path, limits: Limits, beside: int = 0) -> Literal["disk_bytes", "files"] | None:
    """Which limit the files under `root` exceed; as soon as one does, the rest is not looked at.

    Args:
      root: a directory that commands write to.
      limits: `disk_bytes` and `files`.
      beside: bytes on the disk that no name leads to.
    """
    size, files = beside, 0
    try:
        for _, _, entry in walk(root):
            files += 1
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # it is gone
                continue
            if not stat.S_ISDIR(status.st_mode):
                # A file with holes takes little on the disk, and much of whoever reads it.
                size += max(status.st_size, status.st_blocks * 512)
            if size > limits.disk_bytes:
                return "disk_bytes"
            if files > limits.files:
                return "files"
    except TooDeep:
        return "files"
    return "disk_bytes" if size > limits.disk_bytes else None


def remove(root: Path) -> None:
    """Removes a directory and everything in it, however deep and whatever its modes; as much as can be."""
    try:
        shutil.rmtree(root)
    except (OSError, RecursionError):
        # These two go down without limit of depth and stay within the directory.
        for command in (("chmod", "-R", "u+rwX"), ("rm", "-rf")):
            subprocess.run([*command, "--", os.fspath(root)], stderr=subprocess.DEVNULL, check=False)

"""File systems of Bash tasks: read from a manifest, written for a command, and compared after it."""

import base64
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agentbank_jax.environments import sandbox_tree
from agentbank_jax.environments.benchmark_rows import read_rows, typed_field
from agentbank_jax.environments.sandbox import SYSTEM_DIRECTORIES, give_to_sandbox
from agentbank_jax.errors import AgentBankError

# One time for every file, so that what depends on it is the same in both copies. 2024-01-01, UTC.
_MODIFIED = 1704067200

_MAX_COMPARED_BYTES = 1 << 28

Status = Literal["added", "modified", "deleted"]


class ManifestError(AgentBankError):
    """A file-system manifest that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file or directory of a file system.

    Fields:
      path: absolute, such as `/work/notes.txt`.
      content: the bytes of a file; None for a directory.
      mode: permission bits.
    """

    path: str
    content: bytes | None = None
    mode: int = 0o644

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") for part in parts[1:]):
            raise ManifestError(f"path '{self.path}': expected an absolute path without '.' and '..'.")
        if parts[1] in SYSTEM_DIRECTORIES:
            raise ManifestError(f"path '{self.path}': /{parts[1]} is the sandbox's own; choose another directory.")


class FileState(NamedTuple):
    """What is compared of a file: the hash of its content (or its link's target) and whether it is executable."""

    digest: str
    executable: bool


def read_manifest(path: str | Path) -> tuple[Entry, ...]:
    """Reads a JSON list of `{path, mode, type, text | base64}`, where `mode` reads as `0o644`.

    Raises:
      AgentBankError: where the file or an entry cannot be understood; names file, entry (from 1) and field.
    """
    fields = {"path": str, "mode": str, "type": str}
    return tuple(_entry(row, f"{path}:{number}") for number, row in read_rows(path, fields))


def _entry(row: Mapping[str, Any], where: str) -> Entry:
    content: bytes | None = None
    try:
        mode = int(row["mode"], 8)
        if row["type"] != "dir" and "base64" in row:
            content = base64.b64decode(typed_field(row, "base64", str, where))
        elif row["type"] != "dir":
            content = typed_field(row, "text", str, where).encode()
        return Entry(path=row["path"], mode=mode, content=content)
    except ValueError as error:
        raise ManifestError(f"{where}: {error}; expected an octal mode, and text or base64 of a file.") from None
    except ManifestError as error:
        raise ManifestError(f"{where}: {error}") from None


def write_entries(root: Path, entries: Sequence[Entry]) -> None:
    """Makes the file system under `root`, owned by the user that commands run as."""
    for entry in entries:
        target = root / entry.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.content is None:
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(entry.content)
    give_to_sandbox(root)
    # Modes and times last and from the leaves up: a directory may be read-only, and writing changes its time.
    for entry in sorted(entries, key=lambda entry: entry.path, reverse=True):
        target = root / entry.path.lstrip("/")
        os.chmod(target, entry.mode)
        os.utime(target, (_MODIFIED, _MODIFIED))


def initial_states(entries: Sequence[Entry]) -> dict[str, FileState]:
    """What `file_states` would find of entries just written, without touching their access times."""
    return {
        entry.path: FileState(hashlib.sha256(entry.content).hexdigest(), bool(entry.mode & stat.S_IXUSR))
        for entry in entries
        if entry.content is not None
    }


def file_states(root: Path) -> dict[str, FileState]:
    """The files and links under `root` outside the system directories, by path; links are not followed.

    What lies deeper than `sandbox_tree.MAX_DEPTH` levels is left out, and of files beyond `_MAX_COMPARED_BYTES`
    together only the sizes count: a command within its limits reaches neither.
    """
    states: dict[str, FileState] = {}
    left = _MAX_COMPARED_BYTES
    with suppress(sandbox_tree.TooDeep):
        for path, directory, entry in sandbox_tree.walk(root):
            if path.split("/", 1)[0] in SYSTEM_DIRECTORIES:
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                digest = hashlib.sha256(os.fsencode(os.readlink(entry.name, dir_fd=directory))).hexdigest()
            elif stat.S_ISREG(status.st_mode):
                left -= status.st_size
                digest = _digest(entry.name, directory) if left >= 0 else f"{status.st_size} bytes"
            else:
                continue  # directories, and pipes and sockets are no files to compare
            states[f"/{path}"] = FileState(digest, bool(status.st_mode & stat.S_IXUSR))
    return states


def _digest(name: str, directory: int) -> str:
    # Never through a link: a command must not lead us to the host's files.
    flags = os.O_RDONLY | os.O_NOFOLLOW
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except PermissionError:
        sandbox_tree.make_readable(name, directory)
        descriptor = os.open(name, flags, dir_fd=directory)
    with open(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changes(before: Mapping[str, FileState], after: Mapping[str, FileState]) -> dict[str, Status]:
    """What happened to which path, as `git status` tells it: empty directories do not count."""
    found: dict[str, Status] = {}
    for path in before.keys() | after.keys():
        if path not in before:
            found[path] = "added"
        elif path not in after:
            found[path] = "deleted"
        elif before[path] != after[path]:
            found[path] = "modified"
    return found

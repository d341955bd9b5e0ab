"""Files and folders that appear under their names only when they are whole."""

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from agentbank_jax.errors import AgentBankError


@contextlib.contextmanager
def whole_file(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a hidden path beside `target`, whose file takes the target's place at the end.

    After an error nothing is left, not even folders that were made for it. What a process that was
    killed left of the same target is removed by the next one. A link stays one, and what it leads to
    is replaced.

    `with whole_file("a/b.json") as path: path.write_text("{}")`

    Raises:
      OSError: where the target is a folder, a device or a pipe, or cannot be written.
    """
    path = Path(os.path.realpath(target)) if os.path.islink(target) else Path(target)
    _check_replaceable(path)
    with _made_folders(path.parent):
        temporary = _temporary(path)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_output(flag: str, target: str | os.PathLike[str], text: str) -> None:
    """Writes what a command was asked for by a flag; half a surrogate pair, which UTF-8 cannot hold, becomes `?`.

    Raises:
      AgentBankError: where it cannot be written; names the flag.
    """
    try:
        with whole_file(target) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise AgentBankError(
            f"{flag}={os.fspath(target)}: cannot be written ({error.strerror}); name another file."
        ) from None


def unwritten(
    what: str | os.PathLike[str], reason: str | None, remedy: str = "choose another folder with --model_dir"
) -> AgentBankError:
    """The error that says what cannot be written, why, and what to do beside making room."""
    return AgentBankError(f"{os.fspath(what)} cannot be written ({reason}): make room, or {remedy}.")


@contextlib.contextmanager
def whole_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a hidden folder beside `target`, which takes the target's place at the end, as `whole_file` does."""
    path = Path(target)
    with _made_folders(path.parent):
        temporary = _temporary(path)
        temporary.mkdir()
        try:
            yield temporary
            replace_folder(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: Path, target: Path) -> None:
    """Renames `source` to `target`, whose former content is deleted."""
    former = target.with_name(f".{target.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if target.exists():
        os.replace(target, former)
    os.replace(source, target)
    shutil.rmtree(former, ignore_errors=True)


def _check_replaceable(path: Path) -> None:
    # A rename would put a plain file in the place of /dev/null, for every process of the machine.
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


def _temporary(path: Path) -> Path:
    """Returns this process's hidden name for a target, and removes what dead processes left under theirs."""
    here = process_table()
    # Once more where what was written had to be written anew.
    name = re.compile(rf"\.{{1,2}}{re.escape(path.name)}(?:\.{here}\.(\d+)\.tmp){{1,2}}")
    for left in path.parent.iterdir():
        match = name.fullmatch(left.name)
        if match is None or is_alive(int(match[1])):
            continue
        # Another process may remove it at the same time.
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{here}.{os.getpid()}.tmp")


@cache
def process_table() -> str:
    """Names the machine and its table of processes: a process id says nothing about those of another."""
    try:
        table = os.readlink("/proc/self/ns/pid")
    except OSError:
        table = ""
    return hashlib.sha256(f"{platform.node()} {table}".encode()).hexdigest()[:8]


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        # It belongs to someone else, or is no process id: not ours to remove.
        return True
    return True


@contextlib.contextmanager
def _made_folders(folder: Path) -> Iterator[None]:
    """Makes a folder and its parents; after an error those that were made are removed again."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for each in missing:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise

"""Temporary folders that do not outlive a process that was killed by more than the next one of its kind."""

import functools
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from agentbank_jax.whole_files import is_alive, process_table


def make_temporary(kind: str, *, remove: Callable[[Path], None] | None = None) -> Path:
    """Makes a folder that belongs to this process, and removes what dead processes left of the same kind.

    The caller removes it; one that is killed does not.

    Args:
      kind: of folder, such as `agentbank-sandbox`; its name begins so.
      remove: removes a left one; whatever can be of it, without a word, if None.
    """
    place = Path(tempfile.gettempdir())
    _remove_left(place, kind, remove or _remove)
    return Path(tempfile.mkdtemp(prefix=f"{kind}-{process_table()}-{os.getpid()}-", dir=place))


@functools.cache  # a process does it once: the folder of temporary ones may be large
def _remove_left(place: Path, kind: str, remove: Callable[[Path], None]) -> None:
    name = re.compile(rf"{re.escape(kind)}-{process_table()}-(\d+)-\w+")
    for left in place.iterdir():
        match = name.fullmatch(left.name)
        # Anybody may put a link there.
        if match is not None and not is_alive(int(match[1])) and not left.is_symlink():
            remove(left)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)

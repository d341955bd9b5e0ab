"""Files and folders that appear under their names only when they are whole."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a hidden path beside `target`, whose file takes the target's place at the end.

    After an error nothing is left, not even folders that were made for it.

    `with whole_file("a/b.json") as path: path.write_text("{}")`
    """
    path = Path(target)
    with _made_folders(path.parent):
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a hidden folder beside `target`, which takes the target's place at the end, as `whole_file` does."""
    path = Path(target)
    with _made_folders(path.parent):
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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

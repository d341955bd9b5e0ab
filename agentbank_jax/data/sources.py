"""Where the files of a declared task are, and how they are read."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from agentbank_jax.data.declarations import (
    DeclarationError,
    MissingFilesError,
    TaskDeclaration,
    get_mixture,
    get_task,
)
from agentbank_jax.data.remote import fetch_tasks
from agentbank_jax.trajectories.formats.destination import SKIPPED
from agentbank_jax.trajectories.formats.registry import read_trajectories
from agentbank_jax.trajectories.rows.files import KINDS, find_files
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError

Split = Literal["train", "validation"]

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.")


def task_files(task: TaskDeclaration, data_dir: str | os.PathLike[str], split: Split = "train") -> list[Path]:
    """Returns the files of one split of a task, in the order of their shards.

    Args:
      task: the declaration.
      data_dir: the data folder, or its URL, of which a local copy is made.
      split: `train`, or `validation`, of which there may be no files, and of tasks with `files` of their own are none.

    Raises:
      PlaceError: where a URL cannot be read.
      MissingFilesError: where there are none of `train`.
      DeclarationError: where shards are missing, or of two different banks or kinds of file.
    """
    if task.files and split != "train":
        return []
    local = fetch_tasks(os.fspath(data_dir), [task], beside=(), split=split)
    if task.files:
        return _own_files(task, local)
    folder = local / task.config
    kinds = [files for kind in KINDS if (files := sorted(folder.glob(f"{split}*{kind}")))]
    if not kinds and split != "train":
        return []
    if not kinds:
        raise MissingFilesError(
            f"task '{task.name}': no trajectories in {folder}; expected train-00000-of-00001.parquet or more shards; "
            f"{task.remedy_for(data_dir)}."
        )
    if len(kinds) > 1:
        names = ", ".join(files[0].name for files in kinds)
        raise DeclarationError(
            f"task '{task.name}': {folder} holds {split} files of {len(kinds)} kinds ({names}); expected one, since "
            "another may be a copy of it. Move the others away."
        )
    (files,) = kinds
    shards = [match for file in files if (match := _SHARD.search(file.name))]
    if shards:
        count = int(shards[0][2])
        if [int(shard[1]) for shard in shards] != list(range(count)) or len(shards) != len(files):
            names = ", ".join(file.name for file in files[:6])
            raise DeclarationError(
                f"task '{task.name}': {folder} holds {len(files)} files that are not one set of {count} shards "
                f"({names}{', …' if len(files) > 6 else ''}). Remove them, then {task.remedy_for(data_dir)}."
            )
    return files


def read_task(task: TaskDeclaration, data_dir: str | os.PathLike[str]) -> Iterator[Trajectory]:
    """Yields a task's trajectories, each with the task's instruction as its system turn."""
    return _read(task, task_files(task, data_dir))


def read_mixture(name: str, data_dir: str | os.PathLike[str]) -> Iterator[Trajectory]:
    """Yields the trajectories of a mixture's tasks, one task after the other, each once."""
    for task in get_mixture(name).rates:
        yield from read_task(get_task(task), data_dir)


def count_rows(task: TaskDeclaration, data_dir: str | os.PathLike[str]) -> int:
    """Returns the number of a task's trajectories, of parquet files without reading them."""
    files = task_files(task, data_dir)
    if any(file.suffix != ".parquet" for file in files):
        return sum(1 for _ in _read(task, files))
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in files)


def _read(task: TaskDeclaration, files: list[Path]) -> Iterator[Trajectory]:
    rows = read_trajectories(files, format=task.layout, task=task.name, instruction=task.resolve_instruction() or None)
    return (trajectory for _, trajectory in rows)


def _own_files(task: TaskDeclaration, data_dir: Path) -> list[Path]:
    """Returns the files that a task names: every one of its paths and patterns stands for at least one."""
    found: list[Path] = []
    for name in task.files:
        path = data_dir / name if name in task.files_in_data_dir else Path(name).expanduser()
        try:
            matches = find_files(_files_in(path) if path.is_dir() else path)
        except TrajectoryError:
            matches = []
        if not matches:
            raise MissingFilesError(
                f"task '{task.name}': no trajectories in {path}; expected files ending in one of {', '.join(KINDS)}; "
                f"{task.remedy_for(data_dir)}."
            )
        found += matches
    return sorted(set(found))


def _files_in(folder: Path) -> list[Path]:
    # What a conversion skipped is listed beside what it wrote, and is no trajectory.
    shown = [each for each in folder.iterdir() if each.name[0] != "." and each.name != SKIPPED]
    return [each for each in shown if each.is_file() and each.name.lower().endswith(KINDS)]

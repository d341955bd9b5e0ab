"""Conversion of trajectory files from any layout and kind of file into any other, whole or not at all."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.progress import Extent
from agentbank_jax.trajectories.formats.destination import Destination
from agentbank_jax.trajectories.formats.registry import AUTO, FORMATS, MASK, Source, get_format, read_trajectories
from agentbank_jax.trajectories.rows.errors import Reject, RowError, SkippedRows, raise_error
from agentbank_jax.trajectories.rows.files import KINDS, find_files
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError

ON_ERROR = ("raise", "skip")

_KEPT_IN_MEMORY = 20

Progress = Callable[[float, int], None]
"""Called with the part of the input that has been read, 0 to 1, and the trajectories so far."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What of some trajectories a conversion leaves out.

    Fields:
      trajectories: how many lose something, by what it is.
      parts: how many turns or entries that is.
    """

    trajectories: Counter[str]
    parts: Counter[str]

    def __str__(self) -> str:
        return ", ".join(
            f"{what} ({self.parts[what]:,} in {count:,} trajectories)"
            for what, count in sorted(self.trajectories.items())
        )


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a conversion did.

    Fields:
      files: how many files were written.
      trajectories: how many trajectories.
      losses: what they lost, whether the layout read or the layout written cannot hold it.
      skipped: the rows left out; it keeps the first 20, and `skipped.jsonl` holds all.
    """

    files: int
    trajectories: int
    losses: Losses
    skipped: SkippedRows


def convert(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    to: str,
    format: str = AUTO,
    task: str | None = None,
    kind: str | None = None,
    shard_rows: int | None = None,
    on_error: str = "raise",
    lossy: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Reads trajectories in one layout and writes them in another.

    Memory does not grow with the number of rows, but for an input that is one JSON array.

    Args:
      inputs: files, glob patterns, or folders, of which the `train*` files are read.
      output: a file, whose ending says of which kind, or a folder (a name without an ending, or
        with a slash at its end), which gets `train-00000-of-0000N` shards.
      to: the layout to write, a name out of `FORMATS`.
      format: the layout to read, or `auto`.
      task: the task's name; None takes each row's own, else the file's (see `read_trajectories`).
      kind: of the shards in a folder: `parquet` (default), `json`, `jsonl`, `json.gz`, `jsonl.gz`.
      shard_rows: trajectories per shard; None writes one.
      on_error: `raise` ends at the first bad row; `skip` leaves bad rows out and lists them in
        `skipped.jsonl`, beside a file or within a folder.
      lossy: leave out what the layouts cannot hold, instead of refusing.
      overwrite: replace what is there under the output's name.
      progress: called after each trajectory.

    Raises:
      AgentBankError: on a bad argument, a file or a row that cannot be read, a trajectory that
        `to` or the schema cannot hold, or a disk that cannot be written; nothing is left of the output then.
    """
    layout = get_format(to)
    if on_error not in ON_ERROR:
        raise AgentBankError(f"--on_error={on_error} is unknown.{did_you_mean(on_error, ON_ERROR)}")
    destination = Destination(
        output, kind=kind, shard_rows=shard_rows, overwrite=overwrite, lists_skipped=on_error == "skip"
    )
    files = _input_files(inputs)
    extent = Extent(files)
    index_of = {path: index for index, path in enumerate(files)}
    losses = Losses(trajectories=Counter(), parts=Counter())
    refused = False
    count = 0
    with destination.open(layout) as writer:
        skipped = SkippedRows(_KEPT_IN_MEMORY, writer.list_skipped)
        reject: Reject = skipped if on_error == "skip" else raise_error
        for source, trajectory in read_trajectories(files, format=format, task=task, reject=reject):
            held = layout.losses(trajectory)
            lost = held + _unread(source) if source.unread else held
            losses.parts.update(lost)
            losses.trajectories.update(lost.keys())
            # Once refused, the rest is read only to count it.
            refused = refused or bool(lost and not lossy)
            if not refused:
                whole = _with_one_task(layout.without_losses(trajectory) if held else trajectory, task)
                try:
                    writer.write(layout.row_from_trajectory(whole), str(source))
                except RowError as error:
                    reject(source.path, source.row, error)
                    continue
                count += 1
            if progress is not None:
                progress(extent.fraction(index_of[source.path], source.fraction), count)
        if refused:
            raise TrajectoryError(_refusal(to, losses))
        if not count:
            first = f"; the first of {len(skipped):,} skipped rows: {skipped.first[0].message}" if skipped else ""
            raise TrajectoryError(f"no trajectory in {', '.join(map(str, files))}; nothing is written{first}")
    return Conversion(files=writer.files, trajectories=count, losses=losses, skipped=skipped)


def _unread(source: Source) -> Counter[str]:
    return Counter({f"the key '{key}' of a message": times for key, times in source.unread.items()})


def _refusal(to: str, losses: Losses) -> str:
    masked = [name for name, layout in FORMATS.items() if layout.has_mask]
    other = f", or choose --to={' or --to='.join(masked)}, which hold masks" if losses.trajectories[MASK] else ""
    return f"--to={to} would lose {losses}; leave that out with --lossy{other}."


def _with_one_task(trajectory: Trajectory, task: str | None) -> Trajectory:
    """Drops the task that a row named itself where the caller names one for all."""
    if task is None or "task" not in trajectory.metadata:
        return trajectory
    metadata = {name: value for name, value in trajectory.metadata.items() if name != "task"}
    return replace(trajectory, metadata=metadata)


def _input_files(inputs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    paths: list[str | os.PathLike[str]] = []
    for path in inputs:
        if not os.path.isdir(path):
            paths.append(path)
            continue
        patterns = [os.path.join(glob.escape(os.fspath(path)), f"train*{kind}") for kind in KINDS]
        found = [pattern for pattern in patterns if glob.glob(pattern)]
        if len(found) > 1:
            names = ", ".join(os.path.basename(pattern) for pattern in found)
            raise TrajectoryError(
                f"{os.fspath(path)}: holds files of {len(found)} kinds ({names}); expected one, since another may be a "
                "copy of it. Name the files themselves."
            )
        if not found:
            raise TrajectoryError(
                f"{os.fspath(path)}: holds no trajectories; expected files train*{', train*'.join(KINDS)}, or name "
                "files themselves."
            )
        paths += found
    return find_files(paths)

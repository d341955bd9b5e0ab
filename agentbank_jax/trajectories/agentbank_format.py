"""The released AgentBank layout: parquet, JSON and JSON lines with `id` and `conversations`.

A row holds `id` and `conversations`, a list of `{"from": "human" | "gpt", "value": text}`. Any
other column is kept as metadata. The layout carries no instruction: each task adds its own as the
system turn while reading.
"""

import glob
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbank_jax.trajectories.schema import Role, Trajectory, TrajectoryError, Turn

if TYPE_CHECKING:
    import pyarrow as pa

ROLE_OF_SPEAKER: Mapping[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
SPEAKER_OF_ROLE: Mapping[Role, str] = {"user": "human", "assistant": "gpt", "system": "system"}

# The columns that this project writes beside `id` and `conversations`, in the order in which
# they stand in the file. Their types are fixed so that all shards of a bank share one schema.
METADATA_TYPES: Mapping[str, str] = {
    "skill": "string",
    "source": "string",
    "license": "string",
    "reward": "float64",
    "annotation": "string",
    "difficulty": "int64",
    "seed": "int64",
}

_READ_BATCH = 1024
_ROW_GROUP = 4096


def find_files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Returns the files that `paths` (a file, a glob pattern, or several of them) name, sorted.

    Raises:
      TrajectoryError: where a path or pattern matches no file.
    """
    found: list[Path] = []
    for pattern in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        text = os.fspath(pattern)
        matches = [text] if os.path.isfile(text) else [match for match in glob.glob(text) if os.path.isfile(match)]
        if not matches:
            raise TrajectoryError(f"{text}: no such file; expected trajectories as .parquet, .json or .jsonl.")
        found += [Path(match) for match in sorted(matches)]
    return sorted(set(found))


def read_trajectories(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    task: str,
    instruction: str | None = None,
) -> Iterator[Trajectory]:
    """Yields the trajectories of files in the released layout, in the order of files and rows.

    Args:
      paths: a file, a glob pattern, or several of them; `.parquet`, `.json`, `.jsonl`, the last
        two also with `.gz`.
      task: the task's name, which each trajectory takes.
      instruction: the system turn to put before each conversation that has none of its own.

    Yields:
      Trajectories whose assistant turns are all trained; columns other than `id` and
      `conversations` are their metadata, without those that are null.

    Raises:
      TrajectoryError: on a file or a row that breaks the layout; names file, row and field.
    """
    for path in find_files(paths):
        for number, row in enumerate(read_rows(path)):
            yield trajectory_from_row(row, where=f"{path}, row {number}", task=task, instruction=instruction)


def trajectory_from_row(row: Mapping[str, Any], *, where: str, task: str, instruction: str | None = None) -> Trajectory:
    """Turns one row of the released layout into a trajectory; `where` opens error messages.

    Raises:
      TrajectoryError: names `where` and the field at fault.
    """
    identifier = row.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
        raise TrajectoryError(f"{where}, field id: {identifier!r}; expected a non-empty string.")
    conversations = row.get("conversations")
    if not isinstance(conversations, list) or not conversations:
        raise TrajectoryError(
            f"{where}, field conversations: {_shorten(conversations)}; "
            'expected a non-empty list of {"from": "human" | "gpt", "value": text}.'
        )
    turns: list[Turn] = []
    for position, message in enumerate(conversations):
        field = f"{where}, field conversations[{position}]"
        if not isinstance(message, Mapping):
            raise TrajectoryError(f"{field}: {_shorten(message)}; expected an object with 'from' and 'value'.")
        speaker, content = message.get("from"), message.get("value")
        if not isinstance(speaker, str) or speaker not in ROLE_OF_SPEAKER:
            raise TrajectoryError(f"{field}.from: {_shorten(speaker)}; expected 'human' or 'gpt'.")
        if not isinstance(content, str):
            raise TrajectoryError(f"{field}.value: {_shorten(content)}; expected a string.")
        role = ROLE_OF_SPEAKER[speaker]
        turns.append(Turn(role=role, content=content, trained=role == "assistant"))
    if instruction is not None and turns[0].role != "system":
        turns.insert(0, Turn.system(instruction))
    metadata = {
        name: value for name, value in row.items() if name not in ("id", "conversations", "task") and value is not None
    }
    # The row's own task is kept where it is another one than the reader's.
    if row.get("task") not in (None, task):
        metadata["task"] = row["task"]
    try:
        return Trajectory(id=str(identifier), task=task, turns=tuple(turns), metadata=metadata)
    except TrajectoryError as error:
        raise TrajectoryError(f"{where}, field conversations: {error}") from None


def row_from_trajectory(trajectory: Trajectory) -> dict[str, Any]:
    """Turns a trajectory into a row of the released layout; the inverse of `trajectory_from_row`.

    Raises:
      TrajectoryError: where an assistant turn is not trained, which the layout cannot say.
    """
    for position, turn in enumerate(trajectory.turns):
        if turn.role == "assistant" and not turn.trained:
            raise TrajectoryError(
                f"trajectory '{trajectory.id}' of task '{trajectory.task}', turn {position}: an assistant turn that "
                "is not trained; the released layout has no mask, so write it in another layout."
            )
    return {
        "id": trajectory.id,
        "conversations": [{"from": SPEAKER_OF_ROLE[turn.role], "value": turn.content} for turn in trajectory.turns],
        "task": trajectory.task,
        **trajectory.metadata,
    }


def write_parquet(path: str | os.PathLike[str], trajectories: Iterable[Trajectory]) -> int:
    """Writes trajectories as one parquet file in the released layout; returns how many.

    The same trajectories give the same bytes (with the same pyarrow). The file appears under its
    name only when it is whole.

    Raises:
      TrajectoryError: on a trajectory that the layout cannot hold.
    """
    import pyarrow.parquet as pq

    table = _table([row_from_trajectory(trajectory) for trajectory in trajectories])
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, temporary, compression="zstd", row_group_size=_ROW_GROUP)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return int(table.num_rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> "pa.Table":
    """Puts rows into a table: `id`, `conversations`, `task`, known metadata, then other columns by name."""
    import pyarrow as pa

    message = pa.struct([("from", pa.string()), ("value", pa.string())])
    types: dict[str, Any] = {"id": pa.string(), "conversations": pa.list_(message), "task": pa.string()}
    present = {name for row in rows for name in row}
    types |= {name: pa.type_for_alias(alias) for name, alias in METADATA_TYPES.items() if name in present}
    arrays = {}
    for name in [*types, *sorted(present - set(types))]:
        values = [row.get(name) for row in rows]
        try:
            arrays[name] = pa.array(values, type=types.get(name))
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise TrajectoryError(
                f"metadata '{name}': the values do not form one column ({error}); expected "
                f"{METADATA_TYPES.get(name, 'values of one type')}."
            ) from None
    return pa.table(arrays)


def read_rows(path: Path, broken_line: Callable[[str], None] | None = None) -> Iterator[Mapping[str, Any]]:
    """Yields the rows of one file as they stand, checked no further than that they are objects.

    Parquet and JSON lines are read piece by piece, JSON as a whole.

    Args:
      path: the file.
      broken_line: called with a message for each line of JSON lines that is no row, which is then
        passed over; None raises at the first.

    Raises:
      TrajectoryError: on a file that cannot be read, at the place where it cannot.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = suffixes[-1:] == [".gz"]
    kind = suffixes[-2:-1] if compressed else suffixes[-1:]
    if kind == [".parquet"] and not compressed:
        yield from _read_parquet(path)
    elif kind == [".json"]:
        yield from _read_json(path, compressed)
    elif kind == [".jsonl"]:
        yield from _read_json_lines(path, compressed, broken_line)
    else:
        raise TrajectoryError(f"{path}: unknown kind of file; expected .parquet, .json, .jsonl, .json.gz or .jsonl.gz.")


def _read_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = {"id", "conversations"} - set(file.schema_arrow.names)
            if missing:
                raise TrajectoryError(
                    f"{path}: column {', '.join(sorted(missing))} is missing; found "
                    f"{', '.join(file.schema_arrow.names)}; expected id and conversations."
                )
            for batch in file.iter_batches(batch_size=_READ_BATCH):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise TrajectoryError(f"{path}: cannot be read as parquet ({_first_line(error)}).") from None


def _read_json(path: Path, compressed: bool) -> Iterator[Mapping[str, Any]]:
    try:
        rows = json.loads(_read_text(path, compressed))
    except json.JSONDecodeError as error:
        raise TrajectoryError(f"{path}: not JSON ({error}).") from None
    if not isinstance(rows, list):
        raise TrajectoryError(f"{path}: holds {type(rows).__name__}; expected a list of rows.")
    for number, row in enumerate(rows):
        yield _checked_row(row, path, number)


def _read_json_lines(
    path: Path, compressed: bool, broken_line: Callable[[str], None] | None
) -> Iterator[Mapping[str, Any]]:
    number = 0
    try:
        # A binary file is split at "\n" alone: contents may hold other characters that count as line ends.
        with gzip.open(path, "rb") if compressed else open(path, "rb") as lines:
            for line_number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = _checked_row(_parse_line(line, f"{path}, line {line_number}"), path, number)
                except TrajectoryError as error:
                    if broken_line is None:
                        raise
                    broken_line(str(error))
                    continue
                yield row
                number += 1
    except (OSError, EOFError, zlib.error) as error:
        raise TrajectoryError(f"{path}: cannot be read ({_first_line(error)}).") from None


def _parse_line(line: bytes, where: str) -> object:
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise TrajectoryError(f"{where}: not UTF-8 text ({_first_line(error)}).") from None
    except json.JSONDecodeError as error:
        raise TrajectoryError(f"{where}: not JSON ({error}).") from None


def _read_text(path: Path, compressed: bool) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if compressed else content).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise TrajectoryError(f"{path}: cannot be read as UTF-8 text ({_first_line(error)}).") from None


def _checked_row(row: object, path: Path, number: int) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise TrajectoryError(f"{path}, row {number}: {_shorten(row)}; expected an object with id and conversations.")
    return row


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

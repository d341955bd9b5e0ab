"""Rows as they are, broken ones too, in batches. The only place where the linter reads a bank.

A reader of trajectories refuses a row whose roles are out of order; a linter must name it and go
on. So rows are taken before they become trajectories, from `formats.agentbank.read_rows`.
"""

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from agentbank_jax.trajectories.formats.agentbank import ROLE_OF_SPEAKER, find_files, read_rows, trajectory_from_row
from agentbank_jax.trajectories.schema import TrajectoryError

# Rows that a worker gets at once; fixed, so that no result depends on the number of workers.
BATCH_ROWS = 256

_SUFFIXES = (".parquet", ".json", ".jsonl", ".json.gz", ".jsonl.gz")
_COUNT_BLOCK = 1 << 20


class BankFile(NamedTuple):
    """A file to check, and the task of its rows that name none."""

    path: Path
    task: str


@dataclass(frozen=True)
class Row:
    """A row, whatever is wrong with it.

    Fields:
      file, number: where it is; counted from 0.
      id: empty where it has none.
      task: the one asked for, else the row's own, else the folder's name.
      turns: role (`system`, `user`, `assistant`, or the speaker as it stands) and text.
      metadata: the other columns.
      fault: why it is no trajectory of the layout, its roles' order aside; empty where it is one.
    """

    file: str
    number: int
    id: str
    task: str
    turns: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""

    @cached_property
    def characters(self) -> int:
        return sum(len(content) for _, content in self.turns)

    @cached_property
    def text(self) -> str:
        """What is said, without the instruction, which all rows of a task may share."""
        return "\n".join(content for role, content in self.turns if role != "system")

    @property
    def source(self) -> str:
        return _text(self.metadata.get("source"))

    @property
    def licence(self) -> str:
        return _text(self.metadata.get("license")) or _text(self.metadata.get("licence"))


@dataclass(frozen=True)
class Batch:
    """Rows of one file, and what could not be read among them.

    Fields:
      file: index of the file among those checked.
      first: number of the first row.
      rows: as they were read.
      faults: lines that are no rows, and why the file ends here where it cannot be read further.
    """

    file: int
    first: int
    rows: Sequence[Mapping[str, Any]] = ()
    faults: Sequence[str] = ()


def find_bank_files(paths: Sequence[str | os.PathLike[str]], task: str | None = None) -> list[BankFile]:
    """Returns the files of banks, folders, files or glob patterns, each once, sorted.

    A folder stands for the `train*` files in it and in its folders, hidden ones left out.

    Raises:
      TrajectoryError: where a path names nothing to read.
    """
    files: dict[Path, None] = {}
    for path in paths:
        folder = Path(path)
        if not folder.is_dir():
            files |= dict.fromkeys(find_files(path))
            continue
        found = sorted(file for file in folder.glob("train*") if _is_bank_file(file))
        found += sorted(
            file for file in folder.glob("*/train*") if _is_bank_file(file) and not file.parent.name.startswith(".")
        )
        if not found:
            raise TrajectoryError(
                f"{folder}: holds no trajectories; expected train*.parquet, .json or .jsonl in it or in its folders."
            )
        files |= dict.fromkeys(found)
    return [BankFile(path, task or path.resolve().parent.name) for path in sorted(files)]


def count_rows(path: Path) -> int | None:
    """Returns how many rows a file holds where that is cheap to know: for the progress bar."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return int(pq.read_metadata(path).num_rows)
        if ".jsonl" in path.suffixes:
            with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
                return sum(block.count(b"\n") for block in iter(lambda: file.read(_COUNT_BLOCK), b""))
    # A broken file is reported when it is read.
    except (OSError, EOFError, ValueError, zlib.error):
        pass
    return None


def read_raw_rows(path: Path, broken_line: Callable[[str], None] | None = None) -> Iterator[Mapping[str, Any]]:
    """Yields a file's rows as they stand; see `formats.agentbank.read_rows`."""
    yield from read_rows(path, broken_line)


def read_batches(files: Sequence[BankFile]) -> Iterator[Batch]:
    """Yields the rows of files in batches, in order."""
    for index, file in enumerate(files):
        first = 0
        rows: list[Mapping[str, Any]] = []
        faults: list[str] = []
        try:
            for row in read_raw_rows(file.path, faults.append):
                rows.append(row)
                if len(rows) == BATCH_ROWS:
                    yield Batch(file=index, first=first, rows=rows, faults=tuple(faults))
                    first += len(rows)
                    rows = []
                    faults.clear()
        except TrajectoryError as error:
            faults.append(str(error))
        if rows or faults:
            yield Batch(file=index, first=first, rows=rows, faults=tuple(faults))


def loose_row(raw: Mapping[str, Any], *, file: BankFile, number: int, forced_task: str | None = None) -> Row:
    """Takes from a row what can be used, and says what breaks the layout."""
    name = str(file.path)
    identifier = raw.get("id")
    turns: list[tuple[str, str]] = []
    conversations = raw.get("conversations")
    is_whole = isinstance(identifier, str | int) and not isinstance(identifier, bool) and identifier != ""
    if isinstance(conversations, list) and conversations:
        for message in conversations:
            speaker = message.get("from") if isinstance(message, Mapping) else None
            content = message.get("value") if isinstance(message, Mapping) else None
            role = ROLE_OF_SPEAKER.get(speaker) if isinstance(speaker, str) else None
            is_whole = is_whole and role is not None and isinstance(content, str)
            turns.append((role or str(speaker), content if isinstance(content, str) else ""))
    else:
        is_whole = False
    return Row(
        file=name,
        number=number,
        id=str(identifier) if identifier is not None else "",
        task=forced_task or _text(raw.get("task")) or file.task,
        turns=tuple(turns),
        metadata={key: value for key, value in raw.items() if key not in ("id", "conversations", "task")},
        fault="" if is_whole else _fault(raw),
    )


def _fault(raw: Mapping[str, Any]) -> str:
    """Returns the reader's own words about a row that it refuses."""
    try:
        trajectory_from_row(raw, where="row", task="")
    except TrajectoryError as error:
        return str(error).removeprefix("row, ")
    return ""


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _is_bank_file(path: Path) -> bool:
    return path.is_file() and path.name.endswith(_SUFFIXES)

"""Rows of any layout as they are, broken ones too, in batches. The only place where the linter reads a bank.

A reader of trajectories refuses a row whose roles are out of order; a linter must name it and go
on. So rows are taken before they become trajectories.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from agentbank_jax.trajectories.formats.agentbank import ROLE_OF_SPEAKER
from agentbank_jax.trajectories.formats.fields import check_metadata, identifier_of
from agentbank_jax.trajectories.formats.registry import (
    AUTO,
    FORMATS,
    Format,
    detect_format,
    get_format,
    task_of,
    task_of_file,
)
from agentbank_jax.trajectories.rows.errors import RowError
from agentbank_jax.trajectories.rows.files import KINDS, RowReader, find_files
from agentbank_jax.trajectories.schema import TrajectoryError, Turn

# Rows that a worker gets at once; fixed, so that no result depends on the number of workers.
BATCH_ROWS = 256

# So many lines without a row between them are no trajectories; their list must not fill the memory.
_MOST_BROKEN = 1000
# Stands in errors for the file and the row, which a finding names itself.
_WHERE = "row"


class BankFile(NamedTuple):
    """A file to check, the task of its rows that name none, and its layout or `auto`."""

    path: Path
    task: str
    format: str = AUTO


@dataclass(frozen=True)
class Row:
    """A row, whatever is wrong with it.

    Fields:
      file, number: where it is; counted from 0.
      id: empty where it has none.
      task: the one asked for, else the row's own, else the file's.
      turns: roles and texts, in whatever order; of a row that is at fault as far as they are there,
        the role as it stands.
      metadata: the other columns.
      unread: name of the field and value of what messages hold beside the turns.
      fault: why it is no trajectory of the layout, its roles' order aside; empty where it is one.
      fault_field: the field at fault.
    """

    file: str
    number: int
    id: str
    task: str
    turns: Sequence[Turn]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unread: Sequence[tuple[str, Any]] = ()
    fault: str = ""
    fault_field: str | None = None

    @cached_property
    def characters(self) -> int:
        return sum(len(turn.content) for turn in self.turns)

    @cached_property
    def text(self) -> str:
        """What is said, without the instruction, which all rows of a task may share."""
        return "\n".join(turn.content for turn in self.turns if turn.role != "system")

    @property
    def source(self) -> str:
        return _text(self.metadata.get("source"))

    @property
    def licence(self) -> str:
        return _text(self.metadata.get("license")) or _text(self.metadata.get("licence"))


@dataclass(frozen=True)
class Fault:
    """What could not be read: `row` counts from 0, and is -1 where the file cannot be read further."""

    row: int
    message: str


@dataclass(frozen=True)
class Batch:
    """Rows of one file, and what could not be read among them.

    Fields:
      file: index of the file among those checked.
      layout: a name out of `FORMATS`.
      numbers: of the rows, as every reader counts them: what is no row counts too.
      rows: as they were read.
      faults: lines that are no rows, and why the file ends here where it cannot be read further.
      fraction: how much of the file has been read, 0 to 1.
    """

    file: int
    layout: str
    numbers: Sequence[int]
    rows: Sequence[Mapping[str, Any]]
    faults: Sequence[Fault] = ()
    fraction: float = 1.0


def find_bank_files(
    paths: Sequence[str | os.PathLike[str]], task: str | None = None, format: str = AUTO
) -> list[BankFile]:
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
        found = [*folder.glob("train*"), *(each for each in folder.glob("*/train*") if each.parent.name[0] != ".")]
        found = [each for each in found if each.is_file() and each.name.lower().endswith(KINDS)]
        if not found:
            raise TrajectoryError(
                f"{folder}: holds no trajectories; expected files train*{', train*'.join(KINDS)} in it or in its "
                "folders, or name files themselves."
            )
        files |= dict.fromkeys(found)
    return [BankFile(path, task or task_of_file(path), format) for path in sorted(files)]


def read_batches(files: Sequence[BankFile]) -> Iterator[Batch]:
    """Yields the rows of files in batches, in order; at least one batch of each file.

    The layout of a file of format `auto` is the one that most of its first batch's rows have: a
    first row that is broken says nothing of those that follow.
    """
    for index, file in enumerate(files):
        yield from _read_file(index, file)


def _read_file(index: int, file: BankFile) -> Iterator[Batch]:
    layout = None if file.format == AUTO else get_format(file.format)
    numbers: list[int] = []
    rows: list[Mapping[str, Any]] = []
    faults: list[Fault] = []
    broken = 0
    any_rows = False

    def reject(path: Path, number: int, error: RowError) -> None:
        nonlocal broken
        faults.append(Fault(number, str(error).removeprefix(f"{path}, row {number}").lstrip(",: ")))
        broken += 1
        if broken == _MOST_BROKEN:
            raise TrajectoryError(f"{path}: {broken:,} broken rows one after the other; it is not read further.")

    try:
        reader = RowReader(file.path, columns=layout.columns if layout else (), reject=reject)
        for number, row in reader:
            broken = 0
            any_rows = True
            numbers.append(number)
            rows.append(row)
            if len(rows) == BATCH_ROWS:
                layout = layout or _common_layout(rows)
                yield Batch(index, layout.name, numbers, rows, tuple(faults), reader.fraction)
                numbers, rows = [], []
                faults.clear()
    except TrajectoryError as error:
        faults.append(Fault(-1, str(error).removeprefix(f"{file.path}: ")))
    if not any_rows and not faults:
        faults.append(Fault(-1, "holds no rows"))
    yield Batch(index, (layout or _common_layout(rows)).name, numbers, rows, tuple(faults))


def _common_layout(rows: Sequence[Mapping[str, Any]]) -> Format:
    """Returns the layout of most rows; the released one where they tell none."""
    votes: Counter[str] = Counter()
    for row in rows:
        with contextlib.suppress(RowError):
            votes[detect_format(row).name] += 1
    return FORMATS[max(FORMATS, key=lambda name: votes[name])]


def loose_row(
    raw: Mapping[str, Any], *, file: BankFile, number: int, layout: Format, forced_task: str | None = None
) -> Row:
    """Takes from a row what can be used, and says what breaks the layout."""
    row = layout.with_id(raw, file.path, number)
    column = layout.id_column(row)
    identifier = row.get(column)
    known = layout.reserved | {column, "task"}
    metadata = {name: value for name, value in row.items() if name not in known}
    turns: Sequence[Turn]
    unread: list[tuple[str, Any]]
    fault = ""
    fault_field = None
    try:
        identifier_of(row, _WHERE, column)
        turns = layout.turns_from_row(row, _WHERE)
        unread = [(field, value) for field, _, value in layout.unread(row)]
        if forced_task is None:
            task_of(row, _WHERE)
        check_metadata(metadata, _WHERE)
    except RowError as error:
        fault_field = error.field
        place = _WHERE if fault_field is None else f"{_WHERE}, field {fault_field}"
        fault = str(error).removeprefix(f"{place}: ")
        turns, unread = _loose_turns(row.get(layout.messages), layout.messages)
    return Row(
        file=str(file.path),
        number=number,
        id=str(identifier) if isinstance(identifier, str | int) else "",
        task=forced_task or _text(row.get("task")) or file.task,
        turns=turns,
        metadata=metadata,
        unread=unread,
        fault=fault,
        fault_field=fault_field,
    )


def _loose_turns(messages: object, name: str) -> tuple[list[Turn], list[tuple[str, Any]]]:
    """Returns the turns of messages that break their layout, and what else they hold."""
    turns: list[Turn] = []
    unread: list[tuple[str, Any]] = []
    if not isinstance(messages, list):
        return turns, [(name, messages)]
    for position, message in enumerate(messages):
        field = f"{name}[{position}]"
        if not isinstance(message, Mapping):
            unread.append((field, message))
            continue
        speaker, text = ("from", "value") if "from" in message or "value" in message else ("role", "content")
        role, content = message.get(speaker), message.get(text)
        known = ROLE_OF_SPEAKER.get(role) if isinstance(role, str) else None
        # The role as it stands: no rule about roles is applied to a row that is at fault.
        turns.append(Turn(role=known or str(role), content=content if isinstance(content, str) else ""))  # type: ignore[arg-type]
        unread += [
            (f"{field}.{key}", value)
            for key, value in message.items()
            if key != speaker and not (key == text and isinstance(value, str))
        ]
    return turns, unread


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""

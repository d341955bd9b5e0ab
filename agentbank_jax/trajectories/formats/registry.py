"""The layouts by name, and reading and writing files in any of them."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from agentbank_jax.errors import did_you_mean
from agentbank_jax.trajectories.formats import agentbank, agentinstruct, openai, sharegpt
from agentbank_jax.trajectories.formats.fields import unread_parts
from agentbank_jax.trajectories.rows.errors import Reject, RowError, raise_error, shorten
from agentbank_jax.trajectories.rows.files import RowReader, find_files
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn

AUTO = "auto"
MASK = "the mask of an untrained turn"
"""What a layout without a mask loses, in words."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A layout of rows.

    Fields:
      name: what commands call it.
      messages: the column that holds the conversation.
      message_types: names and Arrow types of a message's fields, as they are written.
      message_keys: those of a message that are read.
      columns: those that a parquet file must have.
      needs_id: whether every row has an id of its own.
      has_mask: whether it can say that an assistant turn is not trained.
      has_speakers: whether a turn can name its speaker.
      reserved: columns that it gives a meaning, so that no metadata can have their names.
      id_column: the column that names a row.
      turns_from_row: (row, where) to its turns, in whatever order the roles are.
      trajectory_from_row: (row, *, where, task, instruction=None) to a trajectory.
      row_from_trajectory: its inverse.
    """

    name: str
    messages: str
    message_types: Mapping[str, str]
    message_keys: frozenset[str]
    columns: tuple[str, ...]
    needs_id: bool
    has_mask: bool
    has_speakers: bool
    reserved: frozenset[str]
    id_column: Callable[[Mapping[str, Any]], str]
    turns_from_row: Callable[[Mapping[str, Any], str], list[Turn]]
    trajectory_from_row: Callable[..., Trajectory]
    row_from_trajectory: Callable[[Trajectory], dict[str, Any]]

    def losses(self, trajectory: Trajectory) -> Counter[str]:
        """Returns what of a trajectory the layout cannot hold: how many turns or entries, by name."""
        found: Counter[str] = Counter()
        for turn in trajectory.turns:
            if turn.role == "assistant" and not turn.trained and not self.has_mask:
                found[MASK] += 1
            if turn.images:
                found["the images of a turn"] += 1
            if turn.speaker is not None and not self.has_speakers:
                found["the speaker of a turn"] += 1
        for name in self.reserved & trajectory.metadata.keys():
            found[f"the metadata '{name}'"] += 1
        return found

    def without_losses(self, trajectory: Trajectory) -> Trajectory:
        """Returns a trajectory without what the layout cannot hold: all assistant turns count as trained."""
        turns = [
            replace(
                turn,
                images=(),
                speaker=turn.speaker if self.has_speakers else None,
                trained=turn.trained if self.has_mask else turn.role == "assistant",
            )
            for turn in trajectory.turns
        ]
        metadata = {name: value for name, value in trajectory.metadata.items() if name not in self.reserved}
        return replace(trajectory, turns=tuple(turns), metadata=metadata)

    def unread(self, row: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
        """Yields (name of the field, key, value) of what a row's messages say in keys that are not read."""
        return unread_parts(row, self.messages, self.message_keys)

    def with_id(self, row: Mapping[str, Any], path: Path, number: int) -> Mapping[str, Any]:
        """Returns a row with an id: `<file>/<row>` where it has none and the layout needs none."""
        if self.needs_id or row.get(self.id_column(row)) is not None:
            return row
        return {**row, "id": f"{_stem(path)}/{number}"}


def _format(
    module: ModuleType,
    name: str,
    *,
    has_mask: bool,
    has_speakers: bool = False,
    needs_id: bool = False,
    reserved: Sequence[str] = (),
    id_column: Callable[[Mapping[str, Any]], str] = lambda row: "id",
) -> Format:
    return Format(
        name=name,
        messages=module.MESSAGES,
        message_types=module.MESSAGE_TYPES,
        message_keys=module.MESSAGE_KEYS,
        columns=("id", module.MESSAGES) if needs_id else (module.MESSAGES,),
        needs_id=needs_id,
        has_mask=has_mask,
        has_speakers=has_speakers,
        reserved=frozenset({"id", module.MESSAGES, *reserved}),
        id_column=id_column,
        turns_from_row=module.turns_from_row,
        trajectory_from_row=module.trajectory_from_row,
        row_from_trajectory=module.row_from_trajectory,
    )


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        _format(agentbank, "agentbank", has_mask=False, needs_id=True),
        _format(sharegpt, "sharegpt", has_mask=False, reserved=(sharegpt.SYSTEM,)),
        _format(openai, "openai", has_mask=True, has_speakers=True),
        _format(agentinstruct, "agentinstruct", has_mask=True, id_column=agentinstruct.id_column),
    )
}


def get_format(name: str) -> Format:
    """Returns a layout by its name.

    Raises:
      TrajectoryError: on an unknown name, with a suggestion.
    """
    if name not in FORMATS:
        raise TrajectoryError(f"no layout is called '{name}'.{did_you_mean(name, FORMATS)}")
    return FORMATS[name]


def detect_format(row: Mapping[str, Any], where: str = "the row") -> Format:
    """Tells a row's layout by its columns and the keys of its messages.

    `messages` is OpenAI's. Of `conversations`, messages with `loss` are AgentInstruct's; those of a
    row with an `id` and no column `system` whose speakers are all `human` or `gpt` the released
    layout's; all others ShareGPT's.

    Raises:
      RowError: where it is none of them.
    """
    if row.get(openai.MESSAGES) is not None:
        return FORMATS["openai"]
    conversations = row.get(agentbank.MESSAGES)
    if conversations is not None and not isinstance(conversations, list):
        raise RowError(where, agentbank.MESSAGES, shorten(conversations), "a list of messages")
    if conversations is None:
        expected = "the column messages or conversations of a known layout"
        raise RowError(
            where, None, f"columns {', '.join(shorten(name)[1:-1] for name in row) or 'none'}"[:200], expected
        )
    messages = [message for message in conversations if isinstance(message, Mapping)]
    if any("loss" in message for message in messages):
        return FORMATS["agentinstruct"]
    if messages and not any("from" in message for message in messages):
        expected = "messages with from and value (role and content go into the column messages)"
        raise RowError(where, f"{agentbank.MESSAGES}[0]", shorten(messages[0]), expected)
    is_plain = all(each.get("from") in ("human", "gpt") for each in messages)
    # As the released layout its system prompt would be metadata, which no model sees.
    has_system = sharegpt.SYSTEM in row and isinstance(row[sharegpt.SYSTEM], str | None)
    is_released = row.get("id") is not None and is_plain and not has_system
    return FORMATS["agentbank" if is_released else "sharegpt"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a trajectory was read.

    Fields:
      path: the file.
      row: number of its row, from 0.
      fraction: how much of the file has been read, 0 to 1.
      unread: keys of messages that the layout does not read, where they say something; how often.
    """

    path: Path
    row: int
    fraction: float
    unread: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.path}, row {self.row}"


def read_trajectories(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    format: str = AUTO,
    task: str | None = None,
    instruction: str | None = None,
    reject: Reject = raise_error,
) -> Iterator[tuple[Source, Trajectory]]:
    """Yields the trajectories of files in any layout, in the order of files and rows.

    `skipped = SkippedRows(); list(read_trajectories("chats.jsonl", reject=skipped))`

    Args:
      paths: a file, a glob pattern, or several of them.
      format: a name out of `FORMATS`; `auto` tells each file's layout by its first row.
      task: the task's name; None takes each row's own, else the name of the file, or of its
        folder where the file is one of a bank's `train-…`.
      instruction: the system turn to put before each conversation that has none of its own.
      reject: called with each row that cannot be used; `SkippedRows` goes on after it.

    Yields:
      Where it was read, and the trajectory. A row without an id, where its layout allows that,
      gets `<file>/<row>`.

    Raises:
      TrajectoryError: on a file that cannot be read or, unless `reject` goes on, on a bad row.
    """
    chosen = None if format == AUTO else get_format(format)
    for path in find_files(paths):
        layout = chosen
        reader = RowReader(path, columns=layout.columns if layout else (), reject=reject)
        for number, row in reader:
            where = f"{path}, row {number}"
            try:
                layout = layout or detect_format(row, where)
                row = layout.with_id(row, path, number)
                name = task if task is not None else task_of(row, where) or task_of_file(path)
                trajectory = layout.trajectory_from_row(row, where=where, task=name, instruction=instruction)
            except RowError as error:
                reject(path, number, error)
                continue
            unread = Counter(key for _, key, _ in layout.unread(row))
            yield Source(path=path, row=number, fraction=reader.fraction, unread=unread), trajectory


def task_of(row: Mapping[str, Any], where: str) -> str | None:
    """Returns the task that a row names itself; None where it names none.

    Raises:
      RowError: where that is no name.
    """
    task = row.get("task")
    if task is not None and (not isinstance(task, str) or not task):
        raise RowError(where, "task", shorten(task), "a non-empty string, or --task=NAME")
    return task


def task_of_file(path: Path) -> str:
    """Returns the task of rows that name none: the file's name; that of its folder for a bank's `train-…`."""
    return path.absolute().parent.name if path.name.startswith(("train-", "train.")) else _stem(path)


def _stem(path: Path) -> str:
    return path.name.split(".", 1)[0] or path.name

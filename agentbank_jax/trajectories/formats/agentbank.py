"""The released AgentBank layout: `id` and `conversations`, and whatever else is known.

A row holds `id` and `conversations`, a list of `{"from": "human" | "gpt", "value": text}`. Any
other column is kept as metadata. The layout carries no instruction: each task adds its own as the
system turn while reading.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentbank_jax.trajectories.formats.fields import (
    identifier_of,
    make_row,
    make_trajectory,
    messages_of,
    named_value_of,
    refuse_mask,
    refuse_untrained,
    text_of,
)
from agentbank_jax.trajectories.rows.files import RowReader, find_files
from agentbank_jax.trajectories.rows.writers import write_rows
from agentbank_jax.trajectories.schema import Role, Trajectory, Turn

MESSAGES = "conversations"
MESSAGE_TYPES: Mapping[str, str] = {"from": "string", "value": "string"}
MESSAGE_KEYS = frozenset(MESSAGE_TYPES)
COLUMNS = ("id", MESSAGES)

ROLE_OF_SPEAKER: Mapping[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
SPEAKER_OF_ROLE: Mapping[Role, str] = {"user": "human", "assistant": "gpt", "system": "system"}

_SPEAKERS = "'human' or 'gpt' (the layout sharegpt has other speakers)"


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
        for number, row in RowReader(path, columns=COLUMNS):
            yield trajectory_from_row(row, where=f"{path}, row {number}", task=task, instruction=instruction)


def trajectory_from_row(row: Mapping[str, Any], *, where: str, task: str, instruction: str | None = None) -> Trajectory:
    """Turns one row of the released layout into a trajectory; `where` opens error messages.

    Raises:
      RowError: names `where` and the field at fault.
    """
    identifier = identifier_of(row, where)
    return make_trajectory(row, identifier, turns_from_row(row, where), where, task, COLUMNS, instruction)


def turns_from_row(row: Mapping[str, Any], where: str) -> list[Turn]:
    """Returns the turns of a row in their order, whatever that is; errors as `trajectory_from_row`'s."""
    turns: list[Turn] = []
    expected = 'a non-empty list of {"from": "human" | "gpt", "value": text}'
    for field, message in messages_of(row, MESSAGES, where, expected):
        role = named_value_of(ROLE_OF_SPEAKER, message, "from", where, field, _SPEAKERS)
        content = text_of(message.get("value"), where, f"{field}.value")
        turns.append(Turn(role=role, content=content, trained=role == "assistant"))
    refuse_mask(row, MESSAGES, lambda speaker: ROLE_OF_SPEAKER[speaker] == "assistant", where, "the released layout")
    return turns


def row_from_trajectory(trajectory: Trajectory) -> dict[str, Any]:
    """Turns a trajectory into a row of the released layout; the inverse of `trajectory_from_row`.

    Raises:
      TrajectoryError: where an assistant turn is not trained, which the layout cannot say.
    """
    refuse_untrained(trajectory, "the released layout")
    conversation = [{"from": SPEAKER_OF_ROLE[turn.role], "value": turn.content} for turn in trajectory.turns]
    return make_row(trajectory, MESSAGES, conversation)


def write_parquet(path: str | os.PathLike[str], trajectories: Iterable[Trajectory]) -> int:
    """Writes trajectories as one parquet file in the released layout; returns how many.

    The same trajectories give the same bytes (with the same pyarrow). The file appears under its
    name only when it is whole.

    Raises:
      TrajectoryError: on a trajectory that the layout cannot hold.
    """
    rows = ((row_from_trajectory(each), f"trajectory '{each.id}' of task '{each.task}'") for each in trajectories)
    return write_rows(Path(path), ".parquet", rows, MESSAGES, MESSAGE_TYPES)

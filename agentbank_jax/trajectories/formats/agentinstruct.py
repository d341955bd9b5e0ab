"""AgentInstruct and AgentTraj: `conversations` of `{"from": …, "loss": true | false | null, "value": …}`.

`from` is `human` or `gpt`. `loss` is the mask: a `gpt` message is trained where it is true, and a
`human` message never. The id is `id` or, as in AgentTraj, `item_id`.
"""

from collections.abc import Mapping
from typing import Any

from agentbank_jax.trajectories.formats.agentbank import MESSAGES, ROLE_OF_SPEAKER, SPEAKER_OF_ROLE
from agentbank_jax.trajectories.formats.fields import (
    identifier_of,
    make_row,
    make_trajectory,
    messages_of,
    named_value_of,
    text_of,
)
from agentbank_jax.trajectories.rows.errors import RowError, shorten
from agentbank_jax.trajectories.schema import Trajectory, Turn

MESSAGE_TYPES: Mapping[str, str] = {"from": "string", "loss": "bool", "value": "string"}
MESSAGE_KEYS = frozenset(MESSAGE_TYPES)
ITEM_ID = "item_id"
LOSS = "loss"
"""Metadata with the flags of all messages, kept where they are not those that would be written."""


def trajectory_from_row(row: Mapping[str, Any], *, where: str, task: str, instruction: str | None = None) -> Trajectory:
    """Turns one row into a trajectory; `where` opens error messages.

    Raises:
      RowError: names `where` and the field at fault.
    """
    name = id_column(row)
    identifier = identifier_of(row, where, name)
    turns = turns_from_row(row, where)
    flags = [message.get("loss") for message in row[MESSAGES]]
    kept = {**row, LOSS: flags} if flags != _flags(turns) else row
    return make_trajectory(kept, identifier, turns, where, task, (name, MESSAGES), instruction)


def id_column(row: Mapping[str, Any]) -> str:
    """Returns the column that names a row."""
    return "id" if row.get("id") is not None or ITEM_ID not in row else ITEM_ID


def turns_from_row(row: Mapping[str, Any], where: str) -> list[Turn]:
    """Returns the turns of a row in their order, whatever that is; errors as `trajectory_from_row`'s."""
    turns: list[Turn] = []
    expected = 'a non-empty list of {"from": "human" | "gpt", "loss": true | false | null, "value": text}'
    for field, message in messages_of(row, MESSAGES, where, expected):
        role = named_value_of(ROLE_OF_SPEAKER, message, "from", where, field, "'human' or 'gpt'")
        loss = message.get("loss")
        allowed = (True, False, None) if role == "assistant" else (False, None)
        # `1` equals True, but is no flag.
        if not (loss is None or isinstance(loss, bool)) or loss not in allowed:
            names = "true, false or null" if role == "assistant" else f"false or null for a {role} turn"
            raise RowError(where, f"{field}.loss", shorten(loss), names)
        if role == "assistant" and "loss" not in message:
            raise RowError(where, f"{field}.loss", "it is missing", "true, false or null")
        content = text_of(message.get("value"), where, f"{field}.value")
        turns.append(Turn(role=role, content=content, trained=loss is True))
    return turns


def row_from_trajectory(trajectory: Trajectory) -> dict[str, Any]:
    """Turns a trajectory into a row: `loss` is null for what is not the assistant's, else true or false.

    Flags that were read as something else (null for an assistant turn, false for a user turn) are
    written as they were read, as long as they say the same.

    Raises:
      TrajectoryError: where metadata has the name of a column.
    """
    flags = _flags(trajectory.turns)
    kept = trajectory.metadata.get(LOSS)
    same = isinstance(kept, list) and [flag is True for flag in kept] == [flag is True for flag in flags]
    written: list[bool | None] = kept if isinstance(kept, list) and same else flags
    conversation = [
        {"from": SPEAKER_OF_ROLE[turn.role], "loss": flag, "value": turn.content}
        for turn, flag in zip(trajectory.turns, written, strict=True)
    ]
    row = make_row(trajectory, MESSAGES, conversation)
    if same:
        del row[LOSS]
    return row


def _flags(turns: "list[Turn] | tuple[Turn, ...]") -> list[bool | None]:
    return [turn.trained if turn.role == "assistant" else None for turn in turns]

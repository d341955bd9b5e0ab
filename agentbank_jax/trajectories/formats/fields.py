"""What all layouts have in common: the fields of a row, checked, and the columns of a trajectory."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from agentbank_jax.trajectories.rows.errors import RowError, shorten
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn

T = TypeVar("T")


def identifier_of(row: Mapping[str, Any], where: str, name: str = "id") -> str:
    """Returns a row's id; a whole number becomes its digits."""
    identifier = row.get(name)
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
        raise RowError(where, name, shorten(identifier), "a non-empty string")
    return text_of(str(identifier), where, name)


def messages_of(
    row: Mapping[str, Any], name: str, where: str, expected: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (name of the field, message) of a row's list of messages."""
    messages = row.get(name)
    if not isinstance(messages, list) or not messages:
        raise RowError(where, name, shorten(messages), expected)
    for position, message in enumerate(messages):
        field = f"{name}[{position}]"
        if not isinstance(message, Mapping):
            raise RowError(where, field, shorten(message), f"an object, since {name} is {expected}")
        yield field, message


def unread_parts(row: Mapping[str, Any], name: str, keys: Container[str]) -> Iterator[tuple[str, str, Any]]:
    """Yields (name of the field, key, value) of what a list of messages holds beside `keys`.

    What is null, empty, zero or false says nothing, and is left out.
    """
    messages = row.get(name)
    if not isinstance(messages, list):
        return
    for position, message in enumerate(messages):
        if isinstance(message, Mapping):
            for key, value in message.items():
                if key not in keys and value:
                    shown = shorten(key)[1:-1]
                    yield f"{name}[{position}].{shown}", shown, value


def refuse_mask(row: Mapping[str, Any], name: str, is_reply: Callable[[Any], bool], where: str, layout: str) -> None:
    """Raises a RowError where `loss` flags leave a reply untrained, for a layout that would train it.

    Args:
      row: the row; its messages have been read.
      name: the column that holds them.
      is_reply: whether a message's `from` is the assistant.
      where: names the row in errors.
      layout: the one that is read.
    """
    flags = [message["loss"] for message in row[name] if "loss" in message]
    if not any(isinstance(flag, bool) for flag in flags):
        return
    for position, message in enumerate(row[name]):
        if is_reply(message["from"]) and message.get("loss") is not True:
            raise RowError(
                where,
                f"{name}[{position}].loss",
                shorten(message.get("loss")),
                f"true for each reply, since {layout} has no mask; the layout agentinstruct reads it",
            )


def named_value_of(
    values: Mapping[str, T], message: Mapping[str, Any], key: str, where: str, field: str, expected: str
) -> T:
    """Returns what the name in `message[key]` stands for."""
    name = message.get(key)
    if not isinstance(name, str) or name not in values:
        raise RowError(where, f"{field}.{key}", shorten(name), expected)
    return values[name]


def text_of(value: object, where: str, field: str) -> str:
    """Returns a text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise RowError(where, field, shorten(value), "a string")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise RowError(where, field, shorten(value), "text without lone surrogates, as UTF-8 has it") from None
    return value


def check_metadata(metadata: Mapping[str, Any], where: str) -> None:
    """Raises a RowError where a text in metadata, at whatever depth, cannot be written as UTF-8."""
    for name, value in metadata.items():
        waiting: list[Any] = [name, value]
        while waiting:
            each = waiting.pop()
            if isinstance(each, str):
                text_of(each, where, shorten(name)[1:-1])
            elif isinstance(each, Mapping):
                waiting += [*each.keys(), *each.values()]
            elif isinstance(each, list | tuple):
                waiting += each


def make_trajectory(
    row: Mapping[str, Any],
    identifier: str,
    turns: Sequence[Turn],
    where: str,
    task: str,
    columns: Sequence[str],
    instruction: str | None,
) -> Trajectory:
    """Puts a trajectory together.

    Args:
      row: its columns other than `columns` and `task` become metadata, without those that are null.
      identifier: the trajectory's id.
      turns: its turns, without the instruction.
      where: names the row in errors.
      task: the task's name; a row's own is kept as metadata where it is another one.
      columns: those that the layout has read; the last one holds the messages.
      instruction: the system turn to put before a conversation that has none.

    Raises:
      RowError: where the turns do not make a trajectory, or metadata holds what is no text.
    """
    if instruction is not None and turns[0].role != "system":
        turns = [Turn.system(instruction), *turns]
    metadata = {
        name: value for name, value in row.items() if name not in columns and name != "task" and value is not None
    }
    if row.get("task") not in (None, task):
        metadata["task"] = row["task"]
    check_metadata(metadata, where)
    try:
        return Trajectory(id=identifier, task=task, turns=tuple(turns), metadata=metadata)
    except TrajectoryError as error:
        found, _, expected = str(error).rpartition("; expected ")
        raise RowError(where, columns[-1], found, expected.removesuffix(".")) from None


def make_row(trajectory: Trajectory, name: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the row of a trajectory: `id`, its messages as column `name`, `task`, then its metadata.

    Raises:
      TrajectoryError: where a metadata entry has the name of one of these columns.
    """
    taken = sorted({"id", name} & trajectory.metadata.keys())
    if taken:
        raise TrajectoryError(
            f"trajectory '{trajectory.id}' of task '{trajectory.task}', metadata '{taken[0]}': the layout has a column "
            "of this name; rename the entry."
        )
    return {"id": trajectory.id, name: messages, "task": trajectory.task, **trajectory.metadata}


def refuse_untrained(trajectory: Trajectory, layout: str) -> None:
    """Raises a TrajectoryError where an assistant turn is not trained, for a layout that cannot say so."""
    for position, turn in enumerate(trajectory.turns):
        if turn.role == "assistant" and not turn.trained:
            raise TrajectoryError(
                f"trajectory '{trajectory.id}' of task '{trajectory.task}', turn {position}: an assistant turn that "
                f"is not trained; {layout} has no mask, so write it in another layout."
            )

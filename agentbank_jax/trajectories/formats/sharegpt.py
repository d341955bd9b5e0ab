"""ShareGPT: `conversations` of `{"from": …, "value": …}`, with an optional `id` and `system`.

Speakers, as the field uses them:

- `system`: the system turn; so is a column `system` that is not empty;
- `human`, `user`: user turns;
- `gpt`, `assistant`, `chatgpt`, `bing`, `bard`, `model`: assistant turns;
- `function_call`, `function-call`: a call as JSON, `{"name": …, "arguments": …}`, becomes an assistant turn
  `Action: name[argument]`; a `gpt` message right before it is its Thought;
- `tool`, `observation`, `function_response`, `function-response`: its result, a user turn `Observation: …`.

Other keys of a message are not read (see `Format.unread`). All assistant turns are trained: the layout has
no mask. What is written has the speakers `system`, `human` and `gpt` alone.
"""

import json
from collections.abc import Mapping
from typing import Any

from agentbank_jax.trajectories.formats.agentbank import MESSAGE_KEYS, MESSAGE_TYPES, MESSAGES, SPEAKER_OF_ROLE
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
from agentbank_jax.trajectories.formats.tool_calls import action_of, observation_of, reply_of
from agentbank_jax.trajectories.rows.errors import RowError, shorten
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn

# Written like the released layout.
__all__ = ["MESSAGES", "MESSAGE_KEYS", "MESSAGE_TYPES", "row_from_trajectory", "trajectory_from_row", "turns_from_row"]

SYSTEM = "system"

_KIND_OF_SPEAKER: Mapping[str, str] = {
    "system": "system",
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    **dict.fromkeys(("function_call", "function-call"), "call"),
    **dict.fromkeys(("tool", "observation", "function_response", "function-response"), "result"),
}
_SPEAKERS = f"a speaker: {', '.join(_KIND_OF_SPEAKER)}"


def trajectory_from_row(row: Mapping[str, Any], *, where: str, task: str, instruction: str | None = None) -> Trajectory:
    """Turns one row into a trajectory; `where` opens error messages.

    Raises:
      RowError: names `where` and the field at fault.
    """
    identifier = identifier_of(row, where)
    columns = ("id", SYSTEM, MESSAGES)
    return make_trajectory(row, identifier, turns_from_row(row, where), where, task, columns, instruction)


def turns_from_row(row: Mapping[str, Any], where: str) -> list[Turn]:
    """Returns the turns of a row in their order, whatever that is; errors as `trajectory_from_row`'s."""
    turns: list[Turn] = []
    system = row.get(SYSTEM)
    if system not in (None, ""):
        turns.append(Turn.system(text_of(system, where, SYSTEM)))
    former = ""
    for field, message in messages_of(row, MESSAGES, where, 'a non-empty list of {"from": speaker, "value": text}'):
        kind = named_value_of(_KIND_OF_SPEAKER, message, "from", where, field, _SPEAKERS)
        value = text_of(message.get("value"), where, f"{field}.value")
        if kind == "system":
            if turns and field == f"{MESSAGES}[0]":
                raise RowError(where, f"{field}.from", "'system'", "one system prompt, here or in the column system")
            turns.append(Turn.system(value))
        elif kind == "assistant":
            turns.append(Turn.assistant(value))
        elif kind == "call":
            thought = turns.pop().content if former == "assistant" else ""
            turns.append(Turn.assistant(reply_of(thought, _action(value, where, f"{field}.value"))))
        else:
            turns.append(Turn.user(observation_of(value) if kind == "result" else value))
        former = kind
    refuse_mask(row, MESSAGES, lambda speaker: _KIND_OF_SPEAKER[speaker] in ("assistant", "call"), where, "ShareGPT")
    return turns


def row_from_trajectory(trajectory: Trajectory) -> dict[str, Any]:
    """Turns a trajectory into a row, its system turn as the first message.

    Raises:
      TrajectoryError: where an assistant turn is not trained, which the layout cannot say, or where
        metadata has the name of a column.
    """
    refuse_untrained(trajectory, "ShareGPT")
    if SYSTEM in trajectory.metadata:
        raise TrajectoryError(
            f"trajectory '{trajectory.id}' of task '{trajectory.task}', metadata '{SYSTEM}': ShareGPT has a column of "
            "this name; rename the entry."
        )
    conversation = [{"from": SPEAKER_OF_ROLE[turn.role], "value": turn.content} for turn in trajectory.turns]
    return make_row(trajectory, MESSAGES, conversation)


def _action(value: str, where: str, field: str) -> str:
    try:
        call = json.loads(value)
    except (ValueError, RecursionError):
        raise RowError(where, field, shorten(value), 'a call {"name": text, "arguments": object} as JSON') from None
    return action_of(call, where, field)

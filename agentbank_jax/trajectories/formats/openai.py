"""OpenAI messages: `messages` of `{"role": …, "content": …}`, with tool calls, and an optional `id`.

Roles: `system` and `developer` (the system turn), `user`, `assistant`, `tool` (and the older
`function`). `content` is a text or a list of parts, whose texts are joined by line feeds. `name` is the speaker.
An assistant message with `"weight": 0` is not trained, as in OpenAI's fine-tuning files.

An assistant message with `tool_calls` (or the older `function_call`) becomes `Thought: content` and
`Action: name[argument]` (see `tool_calls.action_of`), and the `tool` message that answers it
`Observation: …`. Of several calls in one message each becomes a turn of its own with its own
observation, in the order of the calls: an agent acts once a turn.

Other keys of a message (`refusal`, `audio`, …) are not read (see `Format.unread`), nor are the ids of calls kept.
What is written are plain messages of `system`, `user` and `assistant`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from agentbank_jax.trajectories.formats.fields import (
    identifier_of,
    make_row,
    make_trajectory,
    messages_of,
    named_value_of,
    text_of,
)
from agentbank_jax.trajectories.formats.tool_calls import action_of, observation_of, reply_of
from agentbank_jax.trajectories.rows.errors import RowError, shorten
from agentbank_jax.trajectories.schema import Trajectory, Turn

MESSAGES = "messages"
MESSAGE_TYPES: Mapping[str, str] = {"role": "string", "name": "string", "content": "string", "weight": "int64"}
MESSAGE_KEYS = frozenset({*MESSAGE_TYPES, "tool_calls", "function_call", "tool_call_id"})

_Kind = Literal["system", "user", "assistant", "tool"]
_KIND_OF_ROLE: Mapping[str, _Kind] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def trajectory_from_row(row: Mapping[str, Any], *, where: str, task: str, instruction: str | None = None) -> Trajectory:
    """Turns one row into a trajectory; `where` opens error messages.

    Raises:
      RowError: names `where` and the field at fault.
    """
    identifier = identifier_of(row, where)
    return make_trajectory(row, identifier, turns_from_row(row, where), where, task, ("id", MESSAGES), instruction)


def turns_from_row(row: Mapping[str, Any], where: str) -> list[Turn]:
    """Returns the turns of a row in their order, whatever that is; errors as `trajectory_from_row`'s."""
    expected = 'a non-empty list of {"role": role, "content": text}'
    messages = [
        (field, named_value_of(_KIND_OF_ROLE, message, "role", where, field, _ROLES), message)
        for field, message in messages_of(row, MESSAGES, where, expected)
    ]
    turns: list[Turn] = []
    position = 0
    while position < len(messages):
        field, kind, message = messages[position]
        position += 1
        if kind == "tool":
            raise RowError(where, f"{field}.role", shorten(message["role"]), "a tool message only after its tool call")
        calls = _calls_of(message, where, field) if kind == "assistant" else []
        if not calls:
            content = _text_of(message.get("content"), where, f"{field}.content")
            trained = _is_trained(message, kind, where, field)
            turns.append(Turn(role=kind, content=content, trained=trained, speaker=_speaker_of(message, where, field)))
            continue
        answers = []
        while position < len(messages) and messages[position][1] == "tool":
            answers.append(messages[position])
            position += 1
        results = _results_of(calls, answers, where, field, ends=position == len(messages))
        turns += _turns_of(message, calls, results, where, field)
    return turns


def row_from_trajectory(trajectory: Trajectory) -> dict[str, Any]:
    """Turns a trajectory into a row of plain messages; untrained assistant turns get `"weight": 0`.

    Raises:
      TrajectoryError: where metadata has the name of a column.
    """
    messages: list[dict[str, Any]] = []
    for turn in trajectory.turns:
        speaker = {} if turn.speaker is None else {"name": turn.speaker}
        messages.append({"role": turn.role, **speaker, "content": turn.content})
        if turn.role == "assistant" and not turn.trained:
            messages[-1]["weight"] = 0
    return make_row(trajectory, MESSAGES, messages)


_ROLES = f"a role: {', '.join(_KIND_OF_ROLE)}"


def _calls_of(message: Mapping[str, Any], where: str, field: str) -> list[tuple[str | None, str]]:
    """Returns (id, action) of each call of an assistant message."""
    older = message.get("function_call")
    if older is not None:
        return [(None, action_of(older, where, f"{field}.function_call"))]
    calls = message.get("tool_calls")
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise RowError(where, f"{field}.tool_calls", shorten(calls), "a list of calls")
    actions: list[tuple[str | None, str]] = []
    for index, call in enumerate(calls):
        name = f"{field}.tool_calls[{index}]"
        if not isinstance(call, Mapping):
            raise RowError(where, name, shorten(call), 'a call {"id": text, "type": "function", "function": object}')
        if call.get("type") not in (None, "function"):
            raise RowError(where, f"{name}.type", shorten(call["type"]), "'function'")
        identifier = call.get("id")
        if identifier is not None:
            identifier = text_of(identifier, where, f"{name}.id")
        actions.append((identifier, action_of(call.get("function"), where, f"{name}.function")))
    return actions


def _results_of(
    calls: Sequence[tuple[str | None, str]],
    answers: Sequence[tuple[str, _Kind, Mapping[str, Any]]],
    where: str,
    field: str,
    *,
    ends: bool,
) -> list[str]:
    """Returns the calls' results in the order of the calls; the last one may lack at the end of a conversation."""
    results: dict[int, str] = {}
    for answer_field, _, answer in answers:
        identifier = answer.get("tool_call_id")
        open_calls = [number for number in range(len(calls)) if number not in results]
        if identifier is not None:
            open_calls = [number for number in open_calls if calls[number][0] in (identifier, None)]
        if not open_calls:
            name = f"{answer_field}.tool_call_id"
            raise RowError(where, name, shorten(identifier), "the id of a call that has no result yet")
        results[open_calls[0]] = _text_of(answer.get("content"), where, f"{answer_field}.content")
    answered = len(calls) - 1 if ends and len(results) < len(calls) else len(calls)
    missing = [number for number in range(answered) if number not in results]
    if missing:
        expected = "a tool message with the result of each call"
        raise RowError(where, f"{field}.tool_calls", f"call {missing[0]} has no result", expected)
    return [results[number] for number in range(answered)]


def _turns_of(
    message: Mapping[str, Any], calls: Sequence[tuple[str | None, str]], results: Sequence[str], where: str, field: str
) -> list[Turn]:
    content = message.get("content")
    thought = "" if content is None else _text_of(content, where, f"{field}.content")
    trained = _is_trained(message, "assistant", where, field)
    speaker = _speaker_of(message, where, field)
    turns: list[Turn] = []
    for number, (_, action) in enumerate(calls):
        reply = reply_of("" if number else thought, action)
        turns.append(Turn(role="assistant", content=reply, trained=trained, speaker=speaker))
        if number < len(results):
            turns.append(Turn.user(observation_of(results[number])))
    return turns


def _text_of(content: object, where: str, field: str) -> str:
    if not isinstance(content, list):
        return text_of(content, where, field)
    texts = []
    for index, part in enumerate(content):
        name = f"{field}[{index}]"
        if not isinstance(part, Mapping):
            raise RowError(where, name, shorten(part), 'a part {"type": "text", "text": text}')
        kind = part.get("type")
        if kind != "text":
            found = shorten(kind)
            if isinstance(kind, str) and "image" in kind:
                found += " (images are not read yet)"
            raise RowError(where, f"{name}.type", found, "'text'")
        texts.append(text_of(part.get("text"), where, f"{name}.text"))
    return "\n".join(texts)


def _is_trained(message: Mapping[str, Any], kind: _Kind, where: str, field: str) -> bool:
    weight = message.get("weight")
    is_assistant = kind == "assistant"
    if isinstance(weight, bool) or weight not in ((None, 0, 1) if is_assistant else (None, 0)):
        expected = "0 or 1" if is_assistant else f"0 or none for a {kind} turn, which is never trained"
        raise RowError(where, f"{field}.weight", shorten(weight), expected)
    return is_assistant and weight != 0


def _speaker_of(message: Mapping[str, Any], where: str, field: str) -> str | None:
    name = message.get("name")
    return None if name is None else text_of(name, where, f"{field}.name")

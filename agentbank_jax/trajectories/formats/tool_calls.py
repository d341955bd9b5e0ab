"""Calls of tools in the project's wording: a call is an Action, its result an Observation."""

import json
from collections.abc import Mapping
from typing import Any

from agentbank_jax.trajectories.formats.fields import text_of
from agentbank_jax.trajectories.rows.errors import RowError, shorten

OBSERVATION = "Observation: "


def action_of(call: object, where: str, field: str) -> str:
    """Returns a call as `name[argument]`, the wording of `search[query]` and `click[value]`.

    Args:
      call: `{"name": …, "arguments": …}`, the arguments as an object or as its JSON text.
      where, field: name the call in errors.

    Returns:
      With one argument that is a string: `name[that string]`; with none: `name[]`; else
      `name[the arguments as JSON]`. Arguments that are null count as left out, as they are where a
      parquet file gives all calls the same fields.

    Raises:
      RowError: names the part of the call at fault.
    """
    if not isinstance(call, Mapping):
        raise RowError(where, field, shorten(call), 'a call {"name": text, "arguments": object}')
    name = text_of(call.get("name"), where, f"{field}.name")
    if not name:
        raise RowError(where, f"{field}.name", "''", "the name of a tool")
    arguments: Any = call.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            raise RowError(where, f"{field}.arguments", shorten(arguments), "a JSON object") from None
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise RowError(where, f"{field}.arguments", shorten(arguments), "a JSON object")
    given = {key: value for key, value in arguments.items() if value is not None}
    if not given:
        return f"{name}[]"
    (first, *others) = given.values()
    text = first if isinstance(first, str) and not others else json.dumps(given, ensure_ascii=False, default=str)
    return f"{name}[{text_of(text, where, f'{field}.arguments')}]"


def reply_of(content: str, action: str) -> str:
    """Returns the assistant turn that says `content` and acts; without content it is the Action alone."""
    thought = content.strip()
    if not thought:
        return f"Action: {action}"
    return f"{thought if thought.startswith('Thought:') else f'Thought: {thought}'}\nAction: {action}"


def observation_of(result: str) -> str:
    """Returns the user turn that tells a result."""
    return result if result.startswith(OBSERVATION) else f"{OBSERVATION}{result}"

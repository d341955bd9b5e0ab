"""Messages of OpenAI's chat interface as turns of a conversation."""

from collections.abc import Sequence
from typing import Any

from agentbank_jax.agents.react import ReAct
from agentbank_jax.serving.errors import invalid
from agentbank_jax.serving.schemas import Message, ToolCall
from agentbank_jax.serving.tools import Call, Spoken, ToolSpec, instruction, parse_arguments, write_turn
from agentbank_jax.trajectories.schema import Role, Turn

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "tool": "user",
    "assistant": "assistant",
}
_BETWEEN = "\n"


def to_turns(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> list[Turn]:
    """Returns the turns of a conversation that ends with the user's or a tool's message.

    Messages of one role that follow each other are one turn. The system turn names the tools. A call of a tool is an
    Action turn, and what the tool answered an Observation.

    Raises:
      ApiError: 400 on roles out of order, a content that is no text, or calls that no turn can say.
    """
    turns: list[Turn] = []
    awaited: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = _ROLES[message.role]
        if message.role == "tool":
            if message.tool_call_id not in awaited:
                raise invalid(
                    f"{where}.tool_call_id is {message.tool_call_id!r}; expected the id of a call in the assistant "
                    "message before it.",
                    f"{where}.tool_call_id",
                )
        elif message.role == "assistant":
            awaited = {call.id for call in message.tool_calls or ()}
        if role == "system" and turns and turns[-1].role != "system":
            raise invalid(f"{where}: a {message.role} message after others; expected it first.", f"{where}.role")
        content = _content(message, where, tools)
        if turns and turns[-1].role == role:
            turns[-1] = Turn(role=role, content=turns[-1].content + _BETWEEN + content)
        elif role == "assistant" and (not turns or turns[-1].role == "system"):
            raise invalid(f"{where}: an assistant message; expected a user's first.", f"{where}.role")
        else:
            turns.append(Turn(role=role, content=content))
    if turns[-1].role != "user":
        raise invalid(
            f"The last message has the role {messages[-1].role}; expected user or tool: there is nothing to reply to.",
            "messages",
        )
    if tools:
        given = [turns.pop(0).content] if turns[0].role == "system" else []
        turns.insert(0, Turn.system(_BETWEEN.join([*given, instruction(tools)])))
    return turns


def _content(message: Message, where: str, tools: Sequence[ToolSpec]) -> str:
    text = _text(message.content, where)
    if message.role == "tool":
        return ReAct().observe(text).content
    if message.role != "assistant":
        if message.content is None:
            raise invalid(f"{where}.content is missing.", f"{where}.content", "missing_required_parameter")
        return text
    calls = message.tool_calls or []
    if len(calls) > 1:
        raise invalid(
            f"{where}.tool_calls has {len(calls)} calls; expected one, as an agent of this server acts once a turn.",
            f"{where}.tool_calls",
        )
    if not calls and not tools:
        return text
    return write_turn(Spoken(content=text.strip(), call=_call(calls[0], where) if calls else None), tools)


def _call(call: ToolCall, where: str) -> Call:
    arguments = parse_arguments(call.function.arguments or "{}")
    if arguments is None:
        param = f"{where}.tool_calls[0].function.arguments"
        raise invalid(f"{param} is no JSON object.", param)
    return Call(name=call.function.name, arguments=arguments)


def _text(content: str | list[dict[str, Any]] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for index, part in enumerate(content):
        if part.get("type") not in ("text", "input_text") or not isinstance(part.get("text"), str):
            raise invalid(
                f"{where}.content[{index}] has the type {part.get('type')!r}; expected text, the only one supported.",
                f"{where}.content[{index}]",
            )
        texts.append(part["text"])
    return "".join(texts)

"""Tools of OpenAI's interface, and the Action turns in which this project's agents call them.

An agent writes `Thought: …` and then `Action: name[text]`, or `Action: name{"a": 1}` where text alone does not say
it; `Final Answer: …` answers. Here these become `content` and `tool_calls`, and back.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentbank_jax.agents.react import ReAct
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX

_AGENT = ReAct()
# Keys under which a call that is one JSON object has its name and its arguments.
_NAMES = ("name", "tool", "action")
_ARGUMENTS = ("arguments", "parameters", "action_input", "args")
_FORM = (
    "Answer each time with a line 'Thought: ...' and then a line 'Action: ...'. "
    "When you know the answer, write 'Final Answer: ...' in place of the action."
)


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """A tool that a model may call.

    Fields:
      name: letters, digits, `_`, `.` and `-`.
      description: what it does.
      parameters: the JSON schema of its arguments, an object.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def properties(self) -> Mapping[str, Any]:
        found = self.parameters.get("properties")
        return found if isinstance(found, Mapping) else {}

    @property
    def text_parameter(self) -> str | None:
        """The parameter that `name[text]` fills: the only one, or the first required one, if it is a string."""
        required = self.parameters.get("required")
        names = [each for each in required if each in self.properties] if isinstance(required, list) else []
        texts = [name for name in names if self._is_text(name)]
        if texts:
            return texts[0]
        if len(self.properties) == 1 and self._is_text(only := next(iter(self.properties))):
            return only
        return None

    def _is_text(self, name: str) -> bool:
        schema = self.properties[name]
        return isinstance(schema, Mapping) and schema.get("type") == "string"

    @property
    def line(self) -> str:
        """How an instruction shows it."""
        text = self.text_parameter
        if text is not None and len(self.properties) == 1:
            form = f"{self.name}[{text}]"
        elif self.properties:
            form = f"{self.name}{{{', '.join(f'{json.dumps(name)}: ...' for name in self.properties)}}}"
        else:
            form = f"{self.name}[]"
        said = " ".join(self.description.split())
        told = [
            f"{name}: {' '.join(str(schema['description']).split())}"
            for name, schema in self.properties.items()
            if isinstance(schema, Mapping) and schema.get("description")
        ]
        return f"{form}{': ' + said if said else ''}{' (' + '; '.join(told) + ')' if told else ''}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool's name, and its arguments as a JSON object."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What an assistant turn says in a conversation with tools.

    Fields:
      content: the Thought before a call, the Final Answer, or a turn without either as it is.
      call: of a tool.
      thought: before a Final Answer.
    """

    content: str
    call: Call | None = None
    thought: str = ""


def instruction(tools: Sequence[ToolSpec]) -> str:
    """What the system turn says of the tools."""
    return "\n".join(["Act with one of:", *(f"- {tool.line}" for tool in tools), _FORM])


def read_turn(text: str, tools: Sequence[ToolSpec]) -> Spoken:
    """Reads an assistant turn; a call of an unknown tool is plain content."""
    parsed = _AGENT.parse(text)
    if parsed is None:
        return Spoken(content=text.strip())
    if parsed.action.startswith(FINAL_ANSWER_PREFIX):
        return Spoken(content=parsed.action.removeprefix(FINAL_ANSWER_PREFIX).strip(), thought=parsed.thought)
    call = _read_call(parsed.action, {tool.name: tool for tool in tools})
    return Spoken(content=parsed.thought, call=call) if call else Spoken(content=text.strip())


def write_turn(spoken: Spoken, tools: Sequence[ToolSpec]) -> str:
    """Writes the assistant turn that `read_turn` reads as this; content that is a turn already stays as it is."""
    if spoken.call is not None:
        action = _write_call(spoken.call, {tool.name: tool for tool in tools})
        return _AGENT.render(spoken.content, action) if spoken.content else f"Action: {action}"
    if _AGENT.parse(spoken.content) is not None:
        return spoken.content
    answer = f"{FINAL_ANSWER_PREFIX} {spoken.content}"
    return _AGENT.render(spoken.thought, answer) if spoken.thought else answer


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Returns the JSON object that a text is, or None."""
    try:
        values = _parse(text)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _read_call(action: str, tools: Mapping[str, ToolSpec]) -> Call | None:
    if action.startswith("{"):
        return _read_object(parse_arguments(action) or {}, tools)
    # The longest first: a name may begin with another.
    for name in sorted(tools, key=len, reverse=True):
        rest = action[len(name) :]
        if not action.startswith(name) or (rest and rest.lstrip()[:1] not in ("[", "(", "{")):
            continue
        rest = rest.strip()
        if not rest:
            return Call(name=name, arguments={})
        if rest[0] == "{":
            arguments = parse_arguments(rest)
            return None if arguments is None else Call(name=name, arguments=arguments)
        if rest[-1] != {"[": "]", "(": ")"}[rest[0]]:
            return None
        return _text_call(tools[name], rest[1:-1], as_json=rest[0] == "(")
    return None


def _read_object(values: Mapping[str, Any], tools: Mapping[str, ToolSpec]) -> Call | None:
    """A call that is one JSON object."""
    name = next((values[key] for key in _NAMES if isinstance(values.get(key), str)), "")
    arguments: Any = next((values[key] for key in _ARGUMENTS if key in values), {})
    if name not in tools:
        return None
    if isinstance(arguments, str):
        return _text_call(tools[name], arguments)
    return Call(name=name, arguments=arguments) if isinstance(arguments, dict) else None


def _text_call(tool: ToolSpec, text: str, *, as_json: bool = False) -> Call | None:
    """The call that `name[text]` means, or `name(text)`, in which an object of JSON is that of the arguments."""
    if as_json and (values := parse_arguments(text)) is not None:
        return Call(name=tool.name, arguments=values)
    if (parameter := tool.text_parameter) is not None:
        return Call(name=tool.name, arguments={parameter: text})
    if not text.strip():
        return Call(name=tool.name, arguments={})
    if (values := parse_arguments(text)) is not None:
        return Call(name=tool.name, arguments=values)
    if len(tool.properties) == 1:
        try:
            return Call(name=tool.name, arguments={next(iter(tool.properties)): _parse(text)})
        except (ValueError, RecursionError):
            return None
    return None


def _write_call(call: Call, tools: Mapping[str, ToolSpec]) -> str:
    tool = tools.get(call.name)
    text = tool.text_parameter if tool else None
    value = call.arguments.get(text) if text is not None and len(call.arguments) == 1 else None
    # A line break could begin a field of the turn; JSON writes it as an escape.
    if isinstance(value, str) and "\n" not in value:
        return f"{call.name}[{value}]"
    return f"{call.name}{json.dumps(call.arguments, ensure_ascii=False)}"


def _parse(text: str) -> Any:
    values = json.loads(text)
    # Numbers and characters that Python reads and JSON cannot hold.
    json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    return values

"""Tools of OpenAI's interface and the Action turns of this project say the same."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentbank_jax.agents.react import ReAct
from agentbank_jax.serving.served_model import ServedModel
from agentbank_jax.serving.tools import Call, Spoken, ToolSpec, instruction, read_turn, write_turn
from tests.serving.running import Running, serving


def tool(name: str, *required: str, **kinds: str) -> ToolSpec:
    properties = {each: {"type": kind} for each, kind in kinds.items()}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return ToolSpec(name=name, description=f"What {name} does.", parameters=parameters)


SEARCH = tool("search", "query", query="string")
BUY = tool("buy", "item", item="string", count="integer")
ADD = tool("add", "a", "b", a="number", b="number")
LOOK = tool("look")
SQUARE = tool("square", "x", x="number")
TOOLS = (SEARCH, BUY, ADD, LOOK, SQUARE)


@pytest.mark.parametrize(
    ("action", "call"),
    [
        ("search[red lamp]", Call(name="search", arguments={"query": "red lamp"})),
        ("search[a [b] c]", Call(name="search", arguments={"query": "a [b] c"})),
        ("search [red]", Call(name="search", arguments={"query": "red"})),
        ('search[{"a": 1}]', Call(name="search", arguments={"query": '{"a": 1}'})),
        ('search{"query": "x"}', Call(name="search", arguments={"query": "x"})),
        ('search({"query": "x"})', Call(name="search", arguments={"query": "x"})),
        ("search(red lamp)", Call(name="search", arguments={"query": "red lamp"})),
        ('{"name": "search", "arguments": {"query": "x"}}', Call(name="search", arguments={"query": "x"})),
        ('{"action": "search", "action_input": "x"}', Call(name="search", arguments={"query": "x"})),
        ("buy[lamp]", Call(name="buy", arguments={"item": "lamp"})),
        ('add{"a": 1, "b": 2.5}', Call(name="add", arguments={"a": 1, "b": 2.5})),
        ("square[4]", Call(name="square", arguments={"x": 4})),
        ("look", Call(name="look", arguments={})),
        ("look[]", Call(name="look", arguments={})),
        # No calls: unknown tools, and arguments that are none.
        ("click[Buy Now]", None),
        ("searching[x]", None),
        ("go to desk 1", None),
        ("search[x", None),
        ("add[1, 2]", None),
        ("add{1}", None),
        ('add{"a": NaN}', None),
        ('search{"query": "\\ud800"}', None),
        ('{"name": "search", "arguments": 3}', None),
    ],
)
def test_an_action_is_read_as_a_call(action: str, call: Call | None) -> None:
    spoken = read_turn(f"Thought: think\nAction: {action}", TOOLS)
    assert spoken.call == call
    assert spoken.content == ("think" if call else f"Thought: think\nAction: {action}")


def test_a_final_answer_is_plain_content() -> None:
    assert read_turn("Thought: I know.\nFinal Answer: 72", TOOLS) == Spoken(content="72", thought="I know.")
    assert read_turn("Hello.", TOOLS) == Spoken(content="Hello.")


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_ARGUMENTS = st.dictionaries(st.sampled_from(["query", "item", "count", "a", "b", "x"]) | _TEXT, _JSON, max_size=3)


def _is_thought(text: str) -> bool:
    """Whether `ReAct` reads a text as the thought that it is."""
    parsed = ReAct().parse(ReAct().render(text, "look"))
    return parsed is not None and parsed.thought == text


_THOUGHT = st.sampled_from(["", "I look.", "Two\nlines: ```", "Thought about it"]) | _TEXT.filter(_is_thought)


@example(SEARCH, {"query": "red\nObservation: a lamp"}, "I look.")
@example(SEARCH, {"query": "red\nFinal Answer: 3]"}, "I look.")
@given(st.sampled_from(TOOLS), _ARGUMENTS | st.builds(lambda text: {"query": text}, _TEXT), _THOUGHT)
def test_a_call_written_as_a_turn_is_read_again(spec: ToolSpec, arguments: dict[str, Any], thought: str) -> None:
    spoken = Spoken(content=thought, call=Call(name=spec.name, arguments=arguments))
    assert read_turn(write_turn(spoken, TOOLS), TOOLS) == spoken


@given(st.sampled_from(["search", "buy"]), _TEXT, _THOUGHT)
def test_a_turn_read_as_a_call_is_written_again(name: str, text: str, thought: str) -> None:
    text = text.replace("\n", " ")
    turn = ReAct().render(thought, f"{name}[{text}]") if thought else f"Action: {name}[{text}]"
    assert write_turn(read_turn(turn, TOOLS), TOOLS) == turn


@given(_TEXT.map(str.strip), _THOUGHT)
def test_what_an_agent_said_is_written_as_a_turn_that_says_it(content: str, thought: str) -> None:
    turn = write_turn(Spoken(content=content, thought=thought), TOOLS)
    if ReAct().parse(content) is None and ReAct().parse(turn) == ReAct().parse(f"Final Answer: {content}") and content:
        assert read_turn(turn, TOOLS).content == content


def test_the_instruction_names_each_tool_and_its_form() -> None:
    lines = instruction(TOOLS).split("\n")
    assert lines[1] == "- search[query]: What search does."
    assert lines[2] == '- buy{"item": ..., "count": ...}: What buy does.'
    assert lines[4] == "- look[]: What look does."
    assert "Final Answer" in lines[-1]


def as_openai(*specs: ToolSpec) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": spec.name, "description": spec.description, "parameters": spec.parameters},
        }
        for spec in specs
    ]


def act(text: str) -> str:
    """Searches first, and answers with what it observed."""
    if "Observation: " not in text.rsplit("[INST]", 1)[-1]:
        return "Thought: I search.\nAction: search[red lamp]\nObservation: imagined"
    return f"Thought: I know.\nFinal Answer: {text.rsplit('Observation: ', 1)[1].removesuffix('[/INST]').strip()}"


def ask(server: Running, messages: list[dict[str, Any]], **others: Any) -> dict[str, Any]:
    body = {"messages": messages, "tools": as_openai(*TOOLS), **others}
    response = server.post("/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


def test_an_agent_acts_observes_and_answers(model: ServedModel) -> None:
    with serving(model, say=act) as server:
        messages: list[dict[str, Any]] = [{"role": "user", "content": "Where is the lamp?"}]
        choice = ask(server, messages)
        (call,) = choice["message"]["tool_calls"]
        assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] == "I search."
        assert call["function"] == {"name": "search", "arguments": '{"query": "red lamp"}'}
        messages += [choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "in the hall"}]
        choice = ask(server, messages)
        assert choice["message"] == {"role": "assistant", "content": "in the hall"}
        assert choice["finish_reason"] == "stop"
        first, second = [list(request.ids) for request in server.engine.read]
        assert second[: len(first)] == first
        assert second[-len(observed := model.template.continuation_ids("Observation: in the hall")) :] == observed
        # What it went on to imagine is no part of the conversation.
        assert "imagined" not in model.tokenizer.decode(second)


def test_a_tool_choice_of_none_leaves_the_turn_as_text(model: ServedModel) -> None:
    with serving(model, say=act) as server:
        choice = ask(server, [{"role": "user", "content": "Go."}], tool_choice="none")
        assert choice["message"]["content"].startswith("Thought: I search.\nAction: search[red lamp]")
        assert "tool_calls" not in choice["message"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "square"}}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_demanded_is_made(model: ServedModel, choice: Any, stream: bool) -> None:
    def say(text: str) -> str:
        return "4]\n" if text.endswith(("square[", "search[")) else '"x": 4}\n' if text.endswith("{") else "No."

    with serving(model, say=say) as server:
        messages = [{"role": "user", "content": "Go."}]
        body = {"messages": messages, "tools": as_openai(SEARCH, SQUARE), "tool_choice": choice, "stream": stream}
        response = server.post("/v1/chat/completions", body)
        if stream:
            deltas = [
                json.loads(line[6:])["choices"][0]["delta"] for line in response.text.split("\n\n") if "{" in line
            ]
            (call,) = next(delta["tool_calls"] for delta in deltas if "tool_calls" in delta)
            assert call["index"] == 0
        else:
            message = response.json()["choices"][0]["message"]
            (call,) = message["tool_calls"]
            assert message["content"] == "No."
        # The fake engine takes the last of the listed names.
        assert call["function"] == {"name": "square", "arguments": '{"x": 4}'}


def test_a_call_that_was_made_anyway_is_not_asked_for_again(model: ServedModel) -> None:
    with serving(model, say=act) as server:
        choice = ask(server, [{"role": "user", "content": "Go."}], tool_choice="required")
        assert choice["message"]["tool_calls"][0]["function"]["name"] == "search" and len(server.engine.read) == 1

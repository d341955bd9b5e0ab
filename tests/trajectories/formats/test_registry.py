"""Rows of each layout become trajectories and come back, to the letter."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentbank_jax.agents.react import ReAct
from agentbank_jax.trajectories.formats.registry import FORMATS, detect_format, get_format
from agentbank_jax.trajectories.rows.errors import RowError
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn

TURNS = (
    Turn.system("Answer."),
    Turn.user("What is 2 + 2?\u2028 \U0001f600"),
    Turn.assistant("Thought: \nAction: 2 + 2", trained=False),
    Turn.user("Observation: 4"),
    Turn.assistant(" Thought: done\nFinal Answer: 4\n```python\nx\n```"),
)
TEXTS = [turn.content for turn in TURNS]
METADATA = {"reward": 1.0, "meta_information": {"task_id": 3}}

# What each layout's row of these turns looks like. Those without a mask train all assistant turns.
SPEAKERS = ["system", "human", "gpt", "human", "gpt"]
GOLDEN: dict[str, dict[str, Any]] = {
    "agentbank": {
        "id": "a",
        "conversations": [{"from": who, "value": text} for who, text in zip(SPEAKERS, TEXTS, strict=True)],
        "task": "t",
        **METADATA,
    },
    "openai": {
        "id": "a",
        "messages": [
            {"role": "system", "content": TEXTS[0]},
            {"role": "user", "content": TEXTS[1]},
            {"role": "assistant", "content": TEXTS[2], "weight": 0},
            {"role": "user", "content": TEXTS[3]},
            {"role": "assistant", "content": TEXTS[4]},
        ],
        "task": "t",
        **METADATA,
    },
    "agentinstruct": {
        "id": "a",
        "conversations": [
            {"from": who, "loss": loss, "value": text}
            for who, loss, text in zip(SPEAKERS, [None, None, False, None, True], TEXTS, strict=True)
        ],
        "task": "t",
        **METADATA,
    },
}
GOLDEN["sharegpt"] = GOLDEN["agentbank"]


def trajectory_of(layout: str) -> Trajectory:
    turns = TURNS
    if not get_format(layout).has_mask:
        turns = tuple(replace(turn, trained=turn.role == "assistant") for turn in TURNS)
    return Trajectory(id="a", task="t", turns=turns, metadata=METADATA)


def read(layout: str, row: dict[str, Any]) -> Trajectory:
    return get_format(layout).trajectory_from_row(row, where="x.jsonl, row 0", task="t")


def turns_of(messages: list[dict[str, Any]], layout: str = "openai") -> list[tuple[str, str]]:
    row = {"id": "a", get_format(layout).messages: messages}
    return [(turn.role, turn.content) for turn in read(layout, row).turns]


@pytest.mark.parametrize("layout", FORMATS)
def test_a_golden_row_is_read_and_written_to_the_letter(layout: str) -> None:
    assert read(layout, GOLDEN[layout]) == trajectory_of(layout)
    assert get_format(layout).row_from_trajectory(trajectory_of(layout)) == GOLDEN[layout]


@pytest.mark.parametrize("layout", FORMATS)
def test_null_columns_vanish_and_all_others_are_metadata(layout: str) -> None:
    row = {**GOLDEN[layout], "other": None, "game_file": "g", "nested": {"a": [1, None]}}
    assert read(layout, row).metadata == {**METADATA, "game_file": "g", "nested": {"a": [1, None]}}


@pytest.mark.parametrize("layout", FORMATS)
def test_an_instruction_goes_before_conversations_that_have_none(layout: str) -> None:
    from_row = get_format(layout).trajectory_from_row
    name = get_format(layout).messages
    bare = {**GOLDEN[layout], name: GOLDEN[layout][name][1:]}
    assert from_row(bare, where="x", task="t", instruction="Do.").turns[0] == Turn.system("Do.")
    assert from_row(GOLDEN[layout], where="x", task="t", instruction="Do.").turns[0] == TURNS[0]


@pytest.mark.parametrize("layout", ["agentbank", "sharegpt"])
def test_layouts_without_a_mask_refuse_to_write_one(layout: str) -> None:
    with pytest.raises(TrajectoryError, match=r"trajectory 'a' of task 't', turn 2: .* not trained"):
        get_format(layout).row_from_trajectory(trajectory_of("openai"))


@pytest.mark.parametrize("layout", FORMATS)
def test_metadata_with_the_name_of_a_column_is_refused(layout: str) -> None:
    for name in get_format(layout).reserved:
        trajectory = Trajectory(id="a", task="t", turns=(Turn.user("q"), Turn.assistant("r")), metadata={name: "x"})
        with pytest.raises(TrajectoryError, match=f"metadata '{name}'.*rename"):
            get_format(layout).row_from_trajectory(trajectory)
        assert get_format(layout).losses(trajectory) == {f"the metadata '{name}'": 1}
        assert get_format(layout).without_losses(trajectory).metadata == {}


def test_what_a_layout_cannot_hold_is_counted_and_can_be_left_out() -> None:
    turns = (Turn(role="user", content="q", images=("a.png",)), Turn(role="assistant", content="r", speaker="Ann"))
    trajectory = Trajectory(id="a", task="t", turns=turns)
    assert get_format("openai").losses(trajectory) == {"the images of a turn": 1}
    assert get_format("sharegpt").losses(trajectory) == {
        "the images of a turn": 1,
        "the speaker of a turn": 1,
        "the mask of an untrained turn": 1,
    }
    assert get_format("openai").without_losses(trajectory).turns == (Turn.user("q"), turns[1])
    assert get_format("sharegpt").without_losses(trajectory).turns == (Turn.user("q"), Turn.assistant("r"))


def test_layouts_are_told_apart_by_a_row() -> None:
    def talk(*speakers: str) -> list[dict[str, str]]:
        return [{"from": speaker, "value": "x"} for speaker in speakers]

    for row, layout in [
        ({"messages": [{"role": "user", "content": "x"}]}, "openai"),
        ({"id": "a", "conversations": talk("human", "gpt")}, "agentbank"),
        ({"conversations": talk("human", "gpt")}, "sharegpt"),
        ({"id": "a", "conversations": talk("human", "function_call", "observation", "gpt")}, "sharegpt"),
        ({"id": "a", "conversations": talk("user", "bing")}, "sharegpt"),
        ({"id": "a", "conversations": [{"from": "human", "value": "x", "loss": None}]}, "agentinstruct"),
        ({"item_id": "a", "conversations": [{"from": "gpt", "loss": True, "value": "x"}]}, "agentinstruct"),
        ({"id": "a", "messages": None, "conversations": talk("human", "gpt")}, "agentbank"),
        # Its system prompt would be lost in the released layout, which has no such column.
        ({"id": "a", "system": "s", "conversations": talk("human", "gpt")}, "sharegpt"),
        ({"id": "a", "system": None, "conversations": talk("human", "gpt")}, "sharegpt"),
        ({"id": "a", "system": {"os": "Linux"}, "conversations": talk("human", "gpt")}, "agentbank"),
        # A broken conversation is for the layout's reader to name.
        ({"id": "a", "conversations": []}, "agentbank"),
        ({"id": "a", "conversations": [{"from": {}, "value": "x"}]}, "sharegpt"),
    ]:
        assert detect_format(row).name == layout, row
    with pytest.raises(RowError, match="row 3: columns question, answer; expected the column messages or conv"):
        detect_format({"question": "q", "answer": "a"}, "row 3")
    with pytest.raises(RowError, match=r"row 3, field conversations: 'x'; expected a list of messages"):
        detect_format({"id": "a", "conversations": "x"}, "row 3")
    with pytest.raises(RowError, match=r"conversations\[0\].*role and content go into the column messages"):
        detect_format({"conversations": [{"role": "user", "content": "x"}]})


def test_an_unknown_layout_gets_a_suggestion() -> None:
    with pytest.raises(TrajectoryError, match=r"no layout is called 'share_gpt'\. Did you mean 'sharegpt'\?"):
        get_format("share_gpt")


def call(name: str, arguments: object, identifier: str | None = None) -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_tool_call_becomes_thought_and_action_and_its_result_an_observation() -> None:
    turns = turns_of(
        [
            {"role": "developer", "content": "Use tools."},
            {"role": "user", "content": [{"type": "text", "text": "Who"}, {"type": "text", "text": "won?"}]},
            {
                "role": "assistant",
                "content": "I look it up.",
                "tool_calls": [call("search", '{"query": "winner"}', "c")],
            },
            {"role": "tool", "tool_call_id": "c", "content": "Ann"},
            {"role": "assistant", "content": "Ann won."},
        ]
    )
    assert turns == [
        ("system", "Use tools."),
        ("user", "Who\nwon?"),
        ("assistant", "Thought: I look it up.\nAction: search[winner]"),
        ("user", "Observation: Ann"),
        ("assistant", "Ann won."),
    ]
    parsed = ReAct().parse(turns[2][1])
    assert parsed is not None and (parsed.thought, parsed.action) == ("I look it up.", "search[winner]")


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        ("", "f[]"),
        (None, "f[]"),
        ("{}", "f[]"),
        ({"query": "x y"}, "f[x y]"),
        ({"n": 3}, 'f[{"n": 3}]'),
        ('{"a": "\u00e9", "b": [1, null]}', 'f[{"a": "\u00e9", "b": [1, null]}]'),
        ({"query": "x", "page": None}, "f[x]"),
        ({"code": "print(1)\nprint(2)"}, "f[print(1)\nprint(2)]"),
    ],
)
def test_arguments_are_worded_as_the_projects_actions_are(arguments: object, action: str) -> None:
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call("f", arguments)]},
    ]
    assert turns_of(messages)[1] == ("assistant", f"Action: {action}")


def test_several_calls_of_a_message_become_turns_in_their_order_whatever_the_order_of_the_results() -> None:
    calls = [call("search", {"query": name}, name) for name in ("a", "b")]
    results = [{"role": "tool", "tool_call_id": name, "content": f"found {name}"} for name in ("b", "a")]
    expected = [
        ("user", "q"),
        ("assistant", "Thought: Both.\nAction: search[a]"),
        ("user", "Observation: found a"),
        ("assistant", "Action: search[b]"),
        ("user", "Observation: found b"),
        ("assistant", "Done."),
    ]
    end = {"role": "assistant", "content": "Done."}
    begin = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Both.", "tool_calls": calls}]
    assert turns_of([*begin, *results, end]) == expected
    # Without ids the results belong to the calls in their order.
    nameless = [{"role": "tool", "content": f"found {name}"} for name in ("a", "b")]
    assert turns_of([*begin, *nameless, end]) == expected
    # The last call may end the conversation.
    assert turns_of([*begin, results[1]]) == expected[:4]


def test_the_older_function_call_reads_like_a_tool_call() -> None:
    messages = [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": "Thought: look",
            "function_call": {"name": "search", "arguments": '{"q": "x"}'},
        },
        {"role": "function", "name": "search", "content": "Observation: y"},
        {"role": "assistant", "content": "z"},
    ]
    assert turns_of(messages)[1:3] == [("assistant", "Thought: look\nAction: search[x]"), ("user", "Observation: y")]


def test_a_weight_of_zero_leaves_all_turns_of_a_message_untrained() -> None:
    calls = [call("f", {"a": name}, name) for name in ("x", "y")]
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("x", "y")]
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": calls, "weight": 0}, *results]
    row = {"id": "a", "messages": [*messages, {"role": "assistant", "content": "z", "weight": 1.0}]}
    assert [turn.trained for turn in read("openai", row).turns if turn.role == "assistant"] == [False, False, True]


def test_the_name_of_a_message_is_its_turns_speaker() -> None:
    messages = [
        {"role": "user", "name": "Bo", "content": "q"},
        {"role": "assistant", "name": "Ann", "content": None, "tool_calls": [call("f", {}, "c")]},
        {"role": "tool", "tool_call_id": "c", "name": "f", "content": "x"},
        {"role": "assistant", "content": "r"},
    ]
    trajectory = read("openai", {"id": "a", "messages": messages})
    assert [turn.speaker for turn in trajectory.turns] == ["Bo", "Ann", None, None]
    written = get_format("openai").row_from_trajectory(trajectory)
    assert read("openai", written) == trajectory and "name" not in written["messages"][3]


def test_the_fields_of_parquet_rows_that_are_null_count_as_missing() -> None:
    empty = {"tool_calls": None, "function_call": None, "tool_call_id": None, "weight": None, "name": None}
    messages = [{"role": "user", "content": "q", **empty}, {"role": "assistant", "content": "r", **empty}]
    assert turns_of(messages) == [("user", "q"), ("assistant", "r")]


def test_sharegpt_speakers_are_read_as_the_field_uses_them() -> None:
    def talk(*messages: tuple[str, str]) -> list[tuple[str, str]]:
        return turns_of([{"from": who, "value": text} for who, text in messages], "sharegpt")

    for who in ("gpt", "assistant", "chatgpt", "bing", "bard", "model"):
        assert talk(("user", "q"), (who, "r")) == [("user", "q"), ("assistant", "r")]
    search = '{"name": "search", "arguments": {"query": "x"}}'
    for caller, answerer in (("function_call", "observation"), ("function-call", "function-response"), ("gpt", "tool")):
        turns = talk(("human", "q"), (caller, search), (answerer, "y"), ("gpt", "z"))
        action = "Action: search[x]" if caller != "gpt" else search
        assert turns == [("user", "q"), ("assistant", action), ("user", "Observation: y"), ("assistant", "z")]
    turns = talk(("human", "q"), ("gpt", "I look."), ("function_call", search), ("observation", "y"), ("gpt", "z"))
    assert turns[1] == ("assistant", "Thought: I look.\nAction: search[x]") and len(turns) == 4


def test_the_system_column_of_sharegpt_is_the_system_turn() -> None:
    row = {
        "id": "a",
        "system": "Do.",
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}],
    }
    trajectory = read("sharegpt", row)
    assert trajectory.turns[0] == Turn.system("Do.") and trajectory.metadata == {}
    assert read("sharegpt", {**row, "system": ""}).turns[0].role == "user"
    written = get_format("sharegpt").row_from_trajectory(trajectory)
    assert written["conversations"][0] == {"from": "system", "value": "Do."} and "system" not in written


@pytest.mark.parametrize(
    ("flags", "trained"),
    [
        ([None, False, None, True], [False, True]),
        ([None, True, None, True], [True, True]),
        ([False, False, None, True], [False, True]),
        ([None, None, False, True], [False, True]),
    ],
)
def test_loss_flags_come_back_exactly(flags: list[bool | None], trained: list[bool]) -> None:
    speakers = ("human", "gpt", "human", "gpt")
    talk = [{"from": who, "loss": flag, "value": "x"} for who, flag in zip(speakers, flags, strict=True)]
    trajectory = read("agentinstruct", {"id": "a", "conversations": talk})
    assert [turn.trained for turn in trajectory.turns if turn.role == "assistant"] == trained
    assert get_format("agentinstruct").row_from_trajectory(trajectory)["conversations"] == talk
    # Through a layout that has no `loss`, too.
    openai = get_format("openai").row_from_trajectory(trajectory)
    assert get_format("agentinstruct").row_from_trajectory(read("openai", openai))["conversations"] == talk


def test_rows_of_other_layouts_are_not_named_by_item_id() -> None:
    row = get_format("openai").with_id({"item_id": "x", "messages": []}, Path("chats.jsonl"), 3)
    assert row["id"] == "chats/3" and row["item_id"] == "x"


def test_agenttraj_rows_are_named_by_item_id() -> None:
    talk = [{"from": "human", "loss": None, "value": "q"}, {"from": "gpt", "loss": True, "value": "r"}]
    assert read("agentinstruct", {"item_id": "alfworld_3", "conversations": talk}).id == "alfworld_3"
    both = read("agentinstruct", {"id": "a", "item_id": "b", "conversations": talk})
    assert both.id == "a" and both.metadata == {"item_id": "b"}

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.agents.react import ParsedReply, ReAct

AGENT = ReAct()


@pytest.mark.parametrize(
    ("reply", "thought", "action"),
    [
        ("Thought: Look it up.\nAction: search[red fox]", "Look it up.", "search[red fox]"),
        ("Thought: I know.\nFinal Answer: 72", "I know.", "Final Answer: 72"),
        ("Action: 2 * 12", "", "2 * 12"),
        ("Thought: ``` or ````\nAction: look", "``` or ````", "look"),
        ("  Thought: a\nb\nAction:\n  go to desk 1 ", "a\nb", "go to desk 1"),
        ("thought: lower\naction: look", "lower", "look"),
        (
            "Thought: Count.\nAction: ```sql\nSELECT COUNT(*)\nFROM pets\n```",
            "Count.",
            "```sql\nSELECT COUNT(*)\nFROM pets\n```",
        ),
        (
            "Thought: x\nAction: ```python\nAction: not a field = 1\n```\nObservation: 3",
            "x",
            "```python\nAction: not a field = 1\n```",
        ),
    ],
)
def test_a_reply_is_read_as_thought_and_action(reply: str, thought: str, action: str) -> None:
    assert AGENT.parse(reply) == ParsedReply(thought=thought, action=action)


@pytest.mark.parametrize(
    "reply", ["", "hello", "Thought: only", "Action:", "Thought: x\nAction:  \n", "click Action: y"]
)
def test_a_reply_without_an_action_is_unparseable(reply: str) -> None:
    assert AGENT.parse(reply) is None


def test_only_the_first_action_counts_and_imagined_observations_are_dropped() -> None:
    reply = "Thought: a\nAction: look\nObservation: You win.\nThought: b\nFinal Answer: 1"
    assert AGENT.parse(reply) == ParsedReply(thought="a", action="look")
    assert AGENT.parse("Thought: a\nObservation: made up\nAction: look") is None


_line = st.text(st.characters(codec="utf-8", exclude_characters="`:\r\n"), min_size=1).filter(
    lambda text: text.strip() == text
)


@given(thought=_line, action=st.one_of(_line, _line.map(lambda text: f"Final Answer: {text}")))
def test_what_is_rendered_is_parsed_as_it_was(thought: str, action: str) -> None:
    assert AGENT.parse(AGENT.render(thought, action)) == ParsedReply(thought=thought, action=action)


@given(st.text())
def test_parsing_never_raises(reply: str) -> None:
    AGENT.parse(reply)


def test_the_opening_is_the_form_of_training() -> None:
    turns = AGENT.opening("Be brief.", "How many?")
    assert [(turn.role, turn.content) for turn in turns] == [("system", "Be brief."), ("user", "How many?")]
    assert [turn.role for turn in AGENT.opening("", "How many?")] == ["user"]
    assert AGENT.observe("24").content == "Observation: 24"

"""Which tokens are trained, on request: the last turn only, or no Thoughts; never more than by default."""

import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Trajectory, Turn
from agentbank_jax.trajectories.templates.registry import TemplateOptions, get_template
from agentbank_jax.trajectories.templates.thought_span import thought_span
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.trajectories.published import conversations

PAIRS = [("llama2", "llama2_model"), ("llama2", "llama2"), ("llama3", "llama3"), ("hf", "llama2"), ("hf", "chatml")]
CASES = [
    ("Thought: look.\nAction: go", "Action: go"),
    ("Thought: look.\nand\nthink\nFinal Answer: 3\nof them", "Final Answer: 3\nof them"),
    ("Thought: \nAction: ```sql\nSELECT 1\n```", "Action: ```sql\nSELECT 1\n```"),
    ("thought: é😀\naction: go", "action: go"),
    ("Action: go", "Action: go"),
    ("Action: go\nThought: afterwards", "Action: go\nThought: afterwards"),
    ("Thought: nothing follows", ""),
    ("no field", "no field"),
]


def conversation(*replies: str) -> Trajectory:
    turns = [Turn.system("act")]
    for reply in replies:
        turns += [Turn.user("Observation: cup"), Turn.assistant(reply)]
    return Trajectory(id="x", task="t", turns=tuple(turns))


@pytest.mark.parametrize(("name", "source"), PAIRS)
def test_without_thoughts_the_rest_of_a_reply_and_its_stop_token_are_trained(
    checkpoints: dict[str, Tokenizer], name: str, source: str
) -> None:
    template = get_template(name, checkpoints[source], TemplateOptions(train_thoughts=False))
    whole = get_template(name, checkpoints[source])
    for reply, rest in CASES:
        encoded = template.encode(conversation("Action: look", reply))
        assert encoded.tokens.tolist() == whole.encode(conversation("Action: look", reply)).tokens.tolist()
        last = encoded.tokens[encoded.trained & (encoded.turn == 4)]
        assert last[-1] == template.stop_ids[0]
        assert template.decode(last.tolist()) == rest
        first = encoded.tokens[encoded.trained & (encoded.turn == 2)]
        assert template.decode(first.tolist()) == "Action: look"


def test_what_stands_before_a_thought_stays_trained(checkpoints: dict[str, Tokenizer]) -> None:
    template = get_template("llama3", checkpoints["llama3"], TemplateOptions(train_thoughts=False))
    encoded = template.encode(conversation("Well.\nThought: a\nAction: b"))
    assert template.decode(encoded.tokens[encoded.trained].tolist()) == "Well.\nAction: b"


@pytest.mark.parametrize(("name", "source"), PAIRS[:3])
def test_only_the_last_turn_is_trained(checkpoints: dict[str, Tokenizer], name: str, source: str) -> None:
    last = get_template(name, checkpoints[source], TemplateOptions(train_on="last"))
    all_turns = get_template(name, checkpoints[source])
    for trajectory in conversations(60, literals=True, seed=3):
        expected = all_turns.encode(trajectory)
        encoded = last.encode(trajectory)
        assert encoded.tokens.tolist() == expected.tokens.tolist()
        of_last = expected.turn == len(trajectory.turns) - 1
        np.testing.assert_array_equal(encoded.trained, expected.trained & of_last)


@pytest.mark.parametrize(("name", "source"), PAIRS[:3])
def test_less_is_trained_without_thoughts_and_never_other_tokens(
    checkpoints: dict[str, Tokenizer], name: str, source: str
) -> None:
    some = get_template(name, checkpoints[source], TemplateOptions(train_thoughts=False))
    all_tokens = get_template(name, checkpoints[source])
    fewer = 0
    for trajectory in conversations(60, literals=True, seed=4):
        a, b = some.encode(trajectory), all_tokens.encode(trajectory)
        assert not (a.trained & ~b.trained).any()
        stops = (b.tokens == some.stop_ids[0]) & b.trained
        assert a.trained[stops].all()
        fewer += int(b.trained.sum() - a.trained.sum())
    assert fewer > 0


def test_options_are_part_of_the_fingerprint(checkpoints: dict[str, Tokenizer]) -> None:
    tokenizer = checkpoints["llama2"]
    chosen = [
        TemplateOptions(),
        TemplateOptions(train_on="last"),
        TemplateOptions(train_thoughts=False),
        TemplateOptions(train_on="last", train_thoughts=False),
    ]
    fingerprints = [get_template("llama2", tokenizer, options).fingerprint for options in chosen]
    assert len(set(fingerprints)) == 4
    # Checkpoints carry this one.
    assert fingerprints[0] == "llama2/1"


def test_unknown_turns_are_named() -> None:
    with pytest.raises(AgentBankError, match=r"train_on = 'lst' is unknown. Did you mean 'last'"):
        TemplateOptions(train_on="lst")  # type: ignore[arg-type]


def test_a_thought_ends_where_the_line_of_the_action_begins() -> None:
    assert thought_span("Thought: look.\nAction: go") == (0, 15)
    assert thought_span("a\n  Thought: b\n Final Answer: c") == (2, 15)
    assert thought_span("Action: a\nThought: b") is None
    assert thought_span("My Thought: a") is None

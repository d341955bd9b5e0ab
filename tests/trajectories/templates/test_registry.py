"""The Llama-2 template gives the published ids, and trains replies and their stop tokens only."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn
from agentbank_jax.trajectories.templates.registry import Llama2Template, TemplateOptions, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.trajectories.fake import make_trajectory

PARTS = [*"ab 1\n\t.é漢😀\u2581", "[INST]", "[/INST]", "</s>", "<s>", "<<SYS>>", "```sql\n", " the", "Action: "]
CONTENT = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    turns = [Turn.system(draw(CONTENT))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 4))):
        turns += [Turn.user(draw(CONTENT)), Turn.assistant(draw(CONTENT), trained=draw(st.booleans()))]
    return Trajectory(id="x", task="t", turns=tuple(turns))


@given(trajectory=trajectories())
def test_ids_are_those_of_each_exchange_tokenised_as_a_whole(template: Llama2Template, trajectory: Trajectory) -> None:
    tokenizer = template.tokenizer
    turns = list(trajectory.turns)
    system = f"<<SYS>>\n{turns.pop(0).content}\n<</SYS>>\n\n" if turns[0].role == "system" else ""
    expected: list[int] = []
    for user, reply in zip(turns[::2], turns[1::2], strict=True):
        text = f"[INST] {(system + user.content).strip()} [/INST] {reply.content.strip()} "
        expected += [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
        system = ""
    encoded = template.encode(trajectory)
    assert encoded.tokens.tolist() == expected
    assert (encoded.tokens.dtype, encoded.trained.dtype, encoded.turn.dtype) == (np.int32, np.bool_, np.int32)


@given(trajectory=trajectories())
def test_what_is_trained_is_each_trained_reply_and_its_stop_token(
    template: Llama2Template, trajectory: Trajectory
) -> None:
    encoded = template.encode(trajectory)
    for index, turn in enumerate(trajectory.turns):
        of_turn = encoded.turn == index
        if turn.role == "system":
            assert not encoded.trained[of_turn].any()
            continue
        assert of_turn.any()
        assert (encoded.trained[of_turn] == turn.trained).all()
        ids = encoded.tokens[of_turn]
        if turn.role == "assistant":
            assert ids[-1] == template.stop_ids[0]
            # The reply's tokens spell the reply between the template's two spaces.
            assert template.tokenizer.decode(ids) == turn.content.strip().replace("\u2581", " ") + " "
    assert (encoded.tokens == template.tokenizer.eos_id).sum() == trajectory.assistant_turns
    assert (encoded.tokens == template.tokenizer.bos_id).sum() == trajectory.assistant_turns


@given(trajectory=trajectories())
def test_acting_builds_the_ids_that_training_saw(template: Llama2Template, trajectory: Trajectory) -> None:
    encoded = template.encode(trajectory)
    first = 2 if trajectory.turns[0].role == "system" else 1
    ids = template.prompt_ids(trajectory.turns[:first])
    for index in range(first, len(trajectory.turns), 2):
        ids += encoded.tokens[encoded.turn == index].tolist()
        assert template.decode(encoded.tokens[encoded.turn == index].tolist()) == (
            trajectory.turns[index].content.replace("\u2581", " ").strip()
        )
        if index + 1 < len(trajectory.turns):
            assert template.prompt_ids(trajectory.turns[: index + 2])[: len(ids)] == ids
            ids += template.continuation_ids(trajectory.turns[index + 1].content)
    assert ids == encoded.tokens.tolist()


@given(batch=st.lists(trajectories(), max_size=4))
def test_a_batch_is_its_trajectories_one_by_one(template: Llama2Template, batch: list[Trajectory]) -> None:
    for encoded, trajectory in zip(template.encode_batch(batch), batch, strict=True):
        alone = template.encode(trajectory)
        for name in ("tokens", "trained", "turn"):
            np.testing.assert_array_equal(getattr(encoded, name), getattr(alone, name))


def test_tokens_masks_and_turns_align(template: Llama2Template) -> None:
    trajectory = Trajectory(
        id="x",
        task="t",
        turns=(
            Turn.system("look"),
            Turn.user("the cup"),
            Turn.assistant("Action: take"),
            Turn.user("Observation: lake"),
            Turn.assistant("Action: put"),
        ),
    )
    encoded = template.encode(trajectory)
    rows = zip(encoded.tokens, encoded.trained, encoded.turn, strict=True)
    columns = [
        ([template.tokenizer.piece(row[0]) for row in group], trained, turn)
        for (trained, turn), group in itertools.groupby(rows, key=lambda row: (bool(row[1]), int(row[2])))
    ]
    assert columns == GOLDEN


def test_a_trajectory_without_a_user_turn_cannot_be_prompted(template: Llama2Template) -> None:
    with pytest.raises(TrajectoryError, match=r"nothing to reply to"):
        template.prompt_ids(make_trajectory(0).turns)


def test_an_unknown_template_is_named(template: Llama2Template) -> None:
    assert get_template("llama2", template.tokenizer).fingerprint == template.fingerprint
    with pytest.raises(AgentBankError, match=r"'llama_2'.*Did you mean 'llama2'"):
        get_template("llama_2", template.tokenizer)


@pytest.mark.parametrize(("checkpoint", "name"), [("llama2_model", "llama2"), ("llama3", "llama3"), ("chatml", "hf")])
def test_a_template_in_another_process_is_the_same(
    checkpoints: dict[str, Tokenizer], checkpoint: str, name: str
) -> None:
    template = get_template(name, checkpoints[checkpoint], TemplateOptions(train_on="last", train_thoughts=False))
    again = pickle.loads(pickle.dumps(template))
    assert again.fingerprint == template.fingerprint and again.stop_ids == template.stop_ids
    for trajectory in map(make_trajectory, range(10)):
        for field in ("tokens", "trained", "turn"):
            encoded, expected = again.encode(trajectory), template.encode(trajectory)
            np.testing.assert_array_equal(getattr(encoded, field), getattr(expected, field))


# What the model reads, whether it is trained on it, and the turn to which it belongs.
GOLDEN = [
    (["<s>", " [", "INST", "]", " <<", "SYS", ">>", "\n", "l", "ook", "\n", "<</", "SYS", ">>", "\n", "\n"], False, 0),
    (["the", " cup", " [/", "INST", "]"], False, 1),
    ([" ", "Action", ":", " take", " ", "</s>"], True, 2),
    (["<s>", " [", "INST", "]", " Observation", ":", " lake", " [/", "INST", "]"], False, 3),
    ([" ", "Action", ":", " put", " ", "</s>"], True, 4),
]

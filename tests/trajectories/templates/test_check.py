"""With every template acting reads what training read; those that break this, or train no stop token, are refused."""

from collections.abc import Sequence

import pytest

from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn
from agentbank_jax.trajectories.templates.chat_template import Ids, Part, Text
from agentbank_jax.trajectories.templates.check import check_template
from agentbank_jax.trajectories.templates.registry import Llama2Template, Llama3Template, TemplateError, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer, TokenizerError
from tests.trajectories.published import conversations

PAIRS = [
    *(("llama2", "llama2_model"), ("llama2", "llama2"), ("codellama", "llama2"), ("llama3", "llama3")),
    *(("hf", "llama2"), ("hf", "llama2_model"), ("hf", "llama3"), ("hf", "chatml")),
]


def encodable(template_name: str, source: str, trajectory: Trajectory) -> bool:
    """Whether `hf` takes the contents; what it refuses is the subject of its own tests."""
    if template_name != "hf" or source == "llama3":
        return True
    if source == "chatml":
        return not any(turn.content.lstrip(" \t\u00a0").startswith(("\n", "\r")) for turn in trajectory.turns)
    return trajectory.turns[0].role != "system" or bool(trajectory.turns[1].content.strip())


@pytest.mark.parametrize(("name", "source"), PAIRS)
def test_prompt_reply_and_stop_are_the_ids_of_training(
    checkpoints: dict[str, Tokenizer], name: str, source: str
) -> None:
    template = get_template(name, checkpoints[source])
    stop = template.stop_ids[0]
    played = 0
    for trajectory in conversations(80, literals=True, seed=2):
        if not encodable(name, source, trajectory):
            continue
        played += 1
        encoded = template.encode(trajectory)
        tokens = encoded.tokens.tolist()
        first = 2 if trajectory.turns[0].role == "system" else 1
        ids = template.prompt_ids(trajectory.turns[:first])
        for index in range(first, len(trajectory.turns), 2):
            assert tokens[: len(ids)] == ids == template.prompt_ids(trajectory.turns[:index])
            reply = tokens[len(ids) : tokens.index(stop, len(ids))]
            content = trajectory.turns[index].content.strip()
            # SentencePiece reads its own space symbol as a space; no content here has one.
            assert template.decode(reply) == content
            trained = encoded.trained[len(ids) : len(ids) + len(reply) + 1]
            assert set(trained.tolist()) == {trajectory.turns[index].trained}
            ids += [*reply, stop]
            if index + 1 < len(trajectory.turns):
                ids += template.continuation_ids(trajectory.turns[index + 1].content)
        assert tokens[: len(ids)] == ids and not encoded.trained[len(ids) :].any()
    assert played > 30


class UntrainedStop(Llama2Template):
    def parts(self, turns: Sequence[Turn], trained: Sequence[bool]) -> list[Part]:
        return [p._replace(trained=False) if isinstance(p, Ids) else p for p in super().parts(turns, trained)]


class NoStop(Llama3Template):
    def parts(self, turns: Sequence[Turn], trained: Sequence[bool]) -> list[Part]:
        return [p for p in super().parts(turns, trained) if not (isinstance(p, Ids) and p.ids == self.stop_ids[:1])]


class TrainedPrompt(Llama2Template):
    def parts(self, turns: Sequence[Turn], trained: Sequence[bool]) -> list[Part]:
        parts = super().parts(turns, trained)
        return [
            p._replace(cuts=tuple(c._replace(trained=True) for c in p.cuts)) if isinstance(p, Text) else p
            for p in parts
        ]


class OtherPrompt(Llama2Template):
    def prompt_ids(self, turns: Sequence[Turn]) -> list[int]:
        return super().prompt_ids(turns)[1:]


@pytest.mark.parametrize(
    ("broken", "source", "message"),
    [
        (UntrainedStop, "llama2", r"'llama2'.*the stop token '</s>' of turn 2 would not be trained"),
        (NoStop, "llama3", r"the stop token '<\|eot_id\|>' of turn 2 would not be trained"),
        (TrainedPrompt, "llama2_model", r"tokens of turn 0, which is not trained, would be trained"),
        (OtherPrompt, "llama2_model", r"acting would read other ids before turn 2"),
    ],
)
def test_a_broken_template_is_refused(
    checkpoints: dict[str, Tokenizer], broken: type[Llama2Template], source: str, message: str
) -> None:
    with pytest.raises(TemplateError, match=message):
        check_template(broken(checkpoints[source]))


def test_registration_checks(checkpoints: dict[str, Tokenizer], monkeypatch: pytest.MonkeyPatch) -> None:
    from agentbank_jax.trajectories.templates import registry

    monkeypatch.setitem(registry.TEMPLATES, "llama2", UntrainedStop)
    with pytest.raises(TemplateError, match=r"would not be trained"):
        get_template("llama2", checkpoints["llama2"])


def test_a_tokenizer_of_another_family_is_refused(checkpoints: dict[str, Tokenizer]) -> None:
    with pytest.raises(TokenizerError, match=r"no special token '<\|start_header_id\|>', which the template 'llama3'"):
        get_template("llama3", checkpoints["llama2"])
    with pytest.raises(TokenizerError, match=r"the template 'llama2' needs both"):
        get_template("llama2", checkpoints["chatml"])


def test_a_reply_that_joins_its_marker_names_the_trajectory(checkpoints: dict[str, Tokenizer]) -> None:
    template = get_template("hf", checkpoints["chatml"])
    turns = (Turn.user("a"), Turn.assistant("\nAction: go"))
    with pytest.raises(TrajectoryError, match=r"'x7' of task 't', turn 1: the tokenizer joins the reply"):
        template.encode(Trajectory(id="x7", task="t", turns=turns))

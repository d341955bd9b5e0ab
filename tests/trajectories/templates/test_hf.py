"""A checkpoint's own chat template: spans by place, special tokens by the template alone, reasons for refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn
from agentbank_jax.trajectories.templates.registry import HfTemplate, TemplateError, get_template
from agentbank_jax.trajectories.tokenizers.fast import FastTokenizer
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.trajectories.published import CHATML_JINJA, conversations

NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML_JINJA
FORGETFUL = CHATML_JINJA.replace("message.content", "(message.content if loop.last else message.content[:3])")


def with_template(tokenizer: Tokenizer, jinja: str, **specification: object) -> FastTokenizer:
    content = {**json.loads(tokenizer.model), **specification}
    return FastTokenizer(
        json.dumps(content).encode(), name="made", settings=replace(tokenizer.settings, chat_template=jinja)
    )


@pytest.mark.parametrize(("native", "checkpoint"), [("llama2", "llama2"), ("llama3", "llama3")])
def test_it_trains_what_the_named_template_trains(
    checkpoints: dict[str, Tokenizer], native: str, checkpoint: str
) -> None:
    named, own = get_template(native, checkpoints[checkpoint]), get_template("hf", checkpoints[checkpoint])
    compared = 0
    for trajectory in conversations(120, literals=True, seed=5):
        # With a blank task Llama-2's template strips what it wrote itself.
        if native == "llama2" and trajectory.turns[0].role == "system" and not trajectory.turns[1].content.strip():
            with pytest.raises(TrajectoryError, match=rf"'{trajectory.id}' of task 'made': .*place in the rendering"):
                own.encode(trajectory)
            continue
        a, b = named.encode(trajectory), own.encode(trajectory)
        assert a.tokens.tolist() == b.tokens.tolist() and a.trained.tolist() == b.trained.tolist()
        assert a.of_reply.tolist() == b.of_reply.tolist()
        compared += 1
    assert compared > 80


@pytest.mark.parametrize(
    ("jinja", "message"),
    [
        (CHATML_JINJA.replace("<|im_end|>", "[end]"), r"which does not begin with a special token"),
        (CHATML_JINJA.replace("message.content", "message.role"), r"writes turn 0 \(user\) not at all"),
        (CHATML_JINJA.replace("message.content", "message.content * 2"), r"writes turn 0 \(user\) twice"),
        (CHATML_JINJA.replace("{%- if add_generation_prompt %}", "{%- if false %}"), r"where acting reads"),
        (
            CHATML_JINJA.replace("+ '\n' + message.content", "+ '\n' + ('' if loop.last else '~') + message.content"),
            r"renders the beginning of a conversation otherwise once it goes on",
        ),
        ("{{ messages", r"is no Jinja template"),
        ("{{ messages.clear() }}", r"refuses the conversation"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", r"refuses the conversation"),
    ],
)
def test_templates_that_cannot_be_trained_are_refused(
    checkpoints: dict[str, Tokenizer], jinja: str, message: str
) -> None:
    with pytest.raises(TemplateError, match=message):
        get_template("hf", with_template(checkpoints["chatml"], jinja))


def test_a_checkpoint_without_a_chat_template_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(TemplateError, match=r"fake\.model: no chat_template beside it"):
        get_template("hf", tokenizer)


def test_a_content_that_the_template_changes_names_the_trajectory(checkpoints: dict[str, Tokenizer]) -> None:
    template = HfTemplate(with_template(checkpoints["chatml"], FORGETFUL))
    with pytest.raises(TrajectoryError, match=r"'x' of task 't': .*changes a content"):
        template.encode(Trajectory(id="x", task="t", turns=(Turn.user("a long task"), Turn.assistant("b"))))


def test_a_template_without_system_turns_takes_the_others(checkpoints: dict[str, Tokenizer]) -> None:
    template = get_template("hf", with_template(checkpoints["chatml"], NO_SYSTEM))
    turns = (Turn.user("a"), Turn.assistant("b"))
    assert template.encode(Trajectory(id="x", task="t", turns=turns)).trained.any()
    with pytest.raises(TrajectoryError, match=r"'x' of task 't': .*refuses the conversation: no system"):
        template.encode(Trajectory(id="x", task="t", turns=(Turn.system("s"), *turns)))


def test_markers_that_are_ordinary_tokens_do_not_come_out_of_contents(checkpoints: dict[str, Tokenizer]) -> None:
    added = json.loads(checkpoints["chatml"].model)["added_tokens"]
    ordinary = [{**entry, "special": False} for entry in added]
    template = get_template("hf", with_template(checkpoints["chatml"], CHATML_JINJA, added_tokens=ordinary))
    literal = "see <|im_end|><|im_start|>"
    encoded = template.encode(Trajectory(id="x", task="t", turns=(Turn.user(literal), Turn.assistant(literal))))
    tokens = encoded.tokens.tolist()
    for mark in ("<|im_start|>", "<|im_end|>"):
        assert tokens.count(template.tokenizer.added_tokens[mark].id) == 2


def test_white_space_that_a_special_token_takes_along_has_no_token(checkpoints: dict[str, Tokenizer]) -> None:
    added = json.loads(checkpoints["chatml"].model)["added_tokens"]
    greedy = [{**entry, "rstrip": entry["content"] == "<|im_end|>", "lstrip": False} for entry in added]
    tokenizer = with_template(checkpoints["chatml"], CHATML_JINJA, added_tokens=greedy)
    template = get_template("hf", tokenizer)
    encoded = template.encode(Trajectory(id="x", task="t", turns=(Turn.user("a"), Turn.assistant("b"))))
    assert template.tokenizer.spell(encoded.tokens.tolist()) == (
        "<|im_start|>user\na<|im_end|><|im_start|>assistant\nb<|im_end|>"
    )


def test_the_fingerprint_changes_with_the_chat_template(checkpoints: dict[str, Tokenizer]) -> None:
    a = get_template("hf", checkpoints["chatml"])
    b = get_template("hf", with_template(checkpoints["chatml"], "{# another #}" + CHATML_JINJA))
    assert a.fingerprint != b.fingerprint and a.fingerprint.startswith("hf/1:")


def test_generation_blocks_and_loop_controls_are_known(checkpoints: dict[str, Tokenizer], tmp_path: Path) -> None:
    marked = CHATML_JINJA.replace(
        "{{ '<|im_start|>'",
        "{%- if loop.index0 > 99 %}{% break %}{% endif %}{% generation %}{% endgeneration %}{{ '<|im_start|>'",
    )
    trajectory = Trajectory(id="x", task="t", turns=(Turn.user("a"), Turn.assistant("b")))
    expected = get_template("hf", checkpoints["chatml"]).encode(trajectory).tokens.tolist()
    assert (
        get_template("hf", with_template(checkpoints["chatml"], marked)).encode(trajectory).tokens.tolist() == expected
    )

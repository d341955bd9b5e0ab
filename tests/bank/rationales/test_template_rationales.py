"""Thoughts by templates: every intent of the experts has words, and the source's own stay."""

import dataclasses
import pickle

import pytest

from agentbank_jax.bank import thoughts
from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.rationales.template_rationales import GENERIC, TemplateRationales, word
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import ExpertStep
from tests.bank.made import starter_trajectory

MATH = registry.get("starter_math")
# An environment that declares no templates of its own.
OTHER = dataclasses.replace(MATH, name="gsm8k")
SLOTS = {"expression": "2 * 3", "query": "Ann", "element": "Buy", "value": "two"}


def sequence(*steps: ExpertStep, said: tuple[str | None, ...] = ()) -> ActionSequence:
    return ActionSequence(steps=steps, method="reformatting", thoughts=said)


def action(name: str) -> str:
    intent, _, language = name.partition("/")
    return f"```{language}\nx\n```" if language else {"answer": "Final Answer: 7"}.get(intent, f"{intent} it")


@pytest.mark.parametrize("name", GENERIC)
def test_each_generic_template_fills_with_the_slots_of_its_intent(name: str) -> None:
    step = ExpertStep(action=action(name), intent=name.partition("/")[0], slots=SLOTS)
    said = {
        TemplateRationales(seed=seed).write(OTHER, MATH.instance("train", 0), sequence(step), ("?",))
        for seed in range(60)
    }
    assert len(said) == len(GENERIC[name]) and thoughts.VOICES % len(GENERIC[name]) == 0
    assert said == {(template.format_map(SLOTS),) for template in GENERIC[name]}


def test_a_starter_family_speaks_with_its_own_templates() -> None:
    for number in range(5):
        built = starter_trajectory("starter_math", number, seed=3)
        instance = MATH.instance("train", number)
        steps = instance.payload.plan
        said = TemplateRationales(seed=3).write(MATH, instance, sequence(*steps), ())
        expected = [turn.content for turn in built.turns if turn.role == "assistant"]
        assert [f"Thought: {each}" for each in said] == [content.split("\n")[0] for content in expected]
        templates = thoughts.templates_of(MATH.name)
        assert any(said == tuple(word(templates, step, voice) for step in steps) for voice in range(6))


def test_the_sources_thoughts_stay_unless_others_are_wanted() -> None:
    steps = ExpertStep(action="search[Ann]", intent="search", slots={"query": "Ann"}), ExpertStep(action="x", intent="")
    given = sequence(*steps, said=("Who is Ann?", None))
    instance = MATH.instance("train", 0)
    kept = TemplateRationales().write(OTHER, instance, given, ())
    anew = TemplateRationales(keep_given=False).write(OTHER, instance, given, ())
    assert kept[0] == "Who is Ann?" and "Ann" in anew[0] and anew[0] != kept[0] and kept[1] == anew[1]


def test_an_unknown_intent_says_its_action_or_is_dropped_where_that_is_long() -> None:
    instance = MATH.instance("train", 0)
    short = TemplateRationales().write(OTHER, instance, sequence(ExpertStep(action="go east", intent="wander")), ())
    assert not isinstance(short, Drop) and "go east" in short[0]
    for long in ("a\nb", "a" * 121):
        drop = TemplateRationales().write(OTHER, instance, sequence(ExpertStep(action=long, intent="wander")), ())
        assert isinstance(drop, Drop) and drop.reason == "no_rationale" and "'wander'" in drop.detail
    own = TemplateRationales(templates={"wander": ("I wander.",)})
    assert own.write(OTHER, instance, sequence(ExpertStep(action="a\nb", intent="wander")), ()) == ("I wander.",)


def test_a_missing_slot_falls_back_to_the_action() -> None:
    step = ExpertStep(action="CLICK [3]", intent="click")
    (said,) = TemplateRationales().write(OTHER, MATH.instance("train", 0), sequence(step), ())
    assert "CLICK [3]" in said


def test_a_writer_is_picklable_and_says_what_it_depends_on() -> None:
    writer = TemplateRationales(seed=1, templates={"a": ("b",)})
    assert pickle.loads(pickle.dumps(writer)) == writer
    assert writer.facts() != TemplateRationales(seed=1).facts() != TemplateRationales(seed=2).facts()

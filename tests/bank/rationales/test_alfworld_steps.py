"""Thoughts for ALFWorld: each step of a solution is understood, and nothing is told that was not seen."""

import dataclasses
import pickle
import re
from collections.abc import Iterator

import pytest

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.rationales.alfworld_steps import AlfworldRationales, understood
from agentbank_jax.bank.rationales.alfworld_thoughts import THOUGHTS
from agentbank_jax.bank.rationales.template_rationales import TemplateRationales
from agentbank_jax.bank.replay import expert_plan, replay
from agentbank_jax.bank.thoughts import VOICES
from agentbank_jax.environments import registry
from agentbank_jax.environments.alfworld_games import AlfworldGame
from agentbank_jax.environments.alfworld_goals import AlfworldGoal
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.packages import missing_package

SPEC = registry.get("alfworld_generated")
NAME = re.compile(r"\b[a-z]+ \d+\b")

ROOM = (
    "You are in the middle of a room. Looking quickly around you, you see a bed 1, a desk 1, a drawer 1, a fridge 1, "
    "a shelf 1, and a shelf 2.\nYour task is to: "
)
LAMP = AlfworldGoal(object_type="Pen", target_type="DeskLamp", lamp=True)
TWO = AlfworldGoal(object_type="Pen", target_type="Shelf", count=2)
COOL = AlfworldGoal(object_type="Egg", target_type="Drawer", change="cool")


def instance_of(goal: AlfworldGoal, number: int = 0) -> Instance:
    game = AlfworldGame(goal="", task_type="", problem=goal.pddl())
    return Instance(id=f"alfworld_generated/train/{number}", fingerprint="", payload=game)


def scripted(goal: AlfworldGoal, *turns: tuple[str, str]) -> tuple[Instance, ActionSequence, tuple[str, ...]]:
    """A problem, the actions of `turns`, and what was said before each of them."""
    steps = tuple(ExpertStep(action=action, intent="solve") for action, _ in turns)
    observations = (ROOM, *(observation for _, observation in turns))[:-1]
    return instance_of(goal), ActionSequence(steps=steps, method="heuristic_search"), observations


SCRIPTS = {
    "lamp": (
        scripted(
            LAMP,
            ("go to drawer 1", "You arrive at loc 1. The drawer 1 is closed."),
            ("open drawer 1", "You open the drawer 1. The drawer 1 is open. In it, you see a cd 1, and a pen 2."),
            ("take pen 2 from drawer 1", "You pick up the pen 2 from the drawer 1."),
            ("go to desk 1", "You arrive at loc 2. On the desk 1, you see a desklamp 1."),
            ("toggle desklamp 1", "You turn on the desklamp 1."),
        ),
        ("explore_first", "open_look", "take", "explore_lamp", "use"),
    ),
    "lamp seen before": (
        scripted(
            LAMP,
            ("go to desk 1", "On the desk 1, you see a desklamp 1."),
            ("go to bed 1", "On the bed 1, you see a pen 1."),
            ("take pen 1 from bed 1", "You pick up the pen 1 from the bed 1."),
            ("go to desk 1", "On the desk 1, you see a desklamp 1."),
            ("use desklamp 1", "You turn on the desklamp 1."),
        ),
        ("explore_first", "explore_next", "take", "go_lamp", "use"),
    ),
    "lamp beside": (
        scripted(
            LAMP,
            ("go to desk 1", "On the desk 1, you see a desklamp 1, and a pen 1."),
            ("toggle desklamp 1", "You turn on the desklamp 1."),
            ("take pen 1 from desk 1", "You pick up the pen 1 from the desk 1."),
        ),
        ("explore_first", "use_first", "take"),
    ),
    "two": (
        scripted(
            TWO,
            ("go to desk 1", "On the desk 1, you see a pen 1, a pen 2, and a pencil 1."),
            ("take pen 1 from desk 1", "You pick up the pen 1 from the desk 1."),
            ("go to shelf 1", "On the shelf 1, you see nothing."),
            ("put pen 1 in/on shelf 1", "You put the pen 1 in/on the shelf 1."),
            ("go to desk 1", "On the desk 1, you see a pen 2, and a pencil 1."),
            ("take pen 2 from desk 1", "You pick up the pen 2 from the desk 1."),
            ("go to shelf 1", "On the shelf 1, you see a pen 1."),
            ("put pen 2 in/on shelf 1", "You put the pen 2 in/on the shelf 1."),
        ),
        ("explore_first", "take", "go_put", "put_first", "go_take", "take", "go_put", "put"),
    ),
    "two in different places": (
        scripted(
            TWO,
            ("go to desk 1", "On the desk 1, you see a pen 1."),
            ("take pen 1 from desk 1", "You pick up the pen 1 from the desk 1."),
            ("go to shelf 1", "On the shelf 1, you see nothing."),
            ("move pen 1 to shelf 1", "You move the pen 1 to the shelf 1."),
            ("go to bed 1", "On the bed 1, you see a pen 2."),
            ("take pen 2 from bed 1", "You pick up the pen 2 from the bed 1."),
            ("go to shelf 1", "On the shelf 1, you see a pen 1."),
            ("move pen 2 to shelf 1", "You move the pen 2 to the shelf 1."),
        ),
        ("explore_first", "take", "go_put", "put_first", "explore_another", "take", "go_put", "put"),
    ),
    "change": (
        scripted(
            COOL,
            ("go to bed 1", "On the bed 1, you see a egg 1."),
            ("take egg 1 from bed 1", "You pick up the egg 1 from the bed 1."),
            ("go to fridge 1", "The fridge 1 is closed."),
            ("cool egg 1 with fridge 1", "You cool the egg 1 using the fridge 1."),
            ("go to drawer 1", "The drawer 1 is closed."),
            ("open drawer 1", "You open the drawer 1. The drawer 1 is open. In it, you see nothing."),
            ("put egg 1 in/on drawer 1", "You put the egg 1 in/on the drawer 1."),
        ),
        ("explore_first", "take", "go_change", "change", "go_put", "open_put", "put"),
    ),
}


def household(number: int) -> tuple[Instance, ActionSequence, tuple[str, ...]]:
    """A trajectory of the starter household, which speaks as ALFWorld does and whose expert looks for things."""
    spec = registry.get("starter_embodied")
    made = spec.instance("train", number)
    wanted = made.payload.goal
    goal = AlfworldGoal(
        object_type=wanted.object_type,
        target_type=wanted.receptacle_type or wanted.lamp_type,
        change={(): None, ("clean",): "clean", ("hot",): "heat", ("cool",): "cool"}[wanted.properties],
        count=wanted.count,
        lamp=wanted.lamp_type is not None,
    )
    actions = [step.action for step in expert_plan(spec, made)]
    steps = tuple(ExpertStep(action=action, intent="solve") for action in actions)
    sequence = ActionSequence(steps=steps, method="heuristic_search")
    return instance_of(goal, number), sequence, replay(spec, made, actions).observations


def check_thoughts(instance: Instance, sequence: ActionSequence, observations: tuple[str, ...]) -> None:
    """That Thoughts name what was seen, and are the same whatever comes later."""
    said = AlfworldRationales().write(SPEC, instance, sequence, observations)
    assert len(said) == len(sequence.steps)
    for position, thought in enumerate(said):
        seen = set(NAME.findall(" ".join(observations[: position + 1])))
        assert set(NAME.findall(thought.lower())) <= seen, (thought, observations[: position + 1])
        assert "{" not in thought and "  " not in thought and thought[0].isupper()
        cut = dataclasses.replace(sequence, steps=sequence.steps[: position + 1])
        assert AlfworldRationales().write(SPEC, instance, cut, observations[: position + 1]) == said[: position + 1]


@pytest.fixture(scope="module")
def households() -> list[tuple[Instance, ActionSequence, tuple[str, ...]]]:
    return [household(number) for number in range(60)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_step_of_a_solution_has_its_reason(name: str) -> None:
    (instance, sequence, observations), intents = SCRIPTS[name]
    assert tuple(step.intent for step in understood(instance.payload, sequence.steps, observations)) == intents
    check_thoughts(instance, sequence, observations)


def test_every_intent_occurs_and_all_its_templates_fill(households) -> None:
    filled: dict[str, set[str]] = {}
    trajectories = [trajectory for trajectory, _ in SCRIPTS.values()] + households
    for instance, sequence, observations in trajectories:
        for step in understood(instance.payload, sequence.steps, observations):
            for template in THOUGHTS.get(step.intent, ()):
                assert all(step.slots[slot] for slot in re.findall(r"\{(\w+)\}", template) if slot != "which")
                filled.setdefault(step.intent, set()).add(template)
    assert {intent: sorted(found) for intent, found in filled.items()} == {
        intent: sorted(templates) for intent, templates in THOUGHTS.items()
    }
    assert all(VOICES % len(templates) == 0 and len(set(templates)) == 6 for templates in THOUGHTS.values())


def test_an_expert_who_looks_for_things_is_understood(households) -> None:
    generic = 0
    for instance, sequence, observations in households:
        check_thoughts(instance, sequence, observations)
        steps = understood(instance.payload, sequence.steps, observations)
        generic += sum(step.intent == "solve" for step in steps)
        assert [step.action for step in steps] == [step.action for step in sequence.steps]
    assert generic == 0


def test_a_thought_before_something_is_seen_says_that_it_may_be_there() -> None:
    for intent in ("explore_first", "explore_next", "explore_another", "explore_lamp"):
        for template in THOUGHTS[intent]:
            assert "{item}" not in template or intent == "explore_lamp"
            assert re.search(r"\bmay\b|[Pp]erhaps|\btry\b|\blook|\bnext\b|go on to", template), template


def test_what_serves_no_goal_is_worded_by_its_action() -> None:
    instance, sequence, observations = scripted(
        COOL,
        ("look", "You are in the middle of a room."),
        ("go to bed 1", "On the bed 1, you see a egg 1, and a pen 1."),
        ("take pen 1 from bed 1", "You pick up the pen 1 from the bed 1."),
        ("go to fridge 1", "The fridge 1 is closed."),
        ("cool pen 1 with fridge 1", "Nothing happens."),
    )
    intents = [step.intent for step in understood(instance.payload, sequence.steps, observations)]
    assert intents == ["solve", "explore_first", "solve", "solve", "solve"]
    said = AlfworldRationales().write(SPEC, instance, sequence, observations)
    plain = TemplateRationales().write(SPEC, instance, sequence, observations)
    assert [each == other for each, other in zip(said, plain, strict=True)] == [True, False, True, True, True]


def test_a_goal_that_is_none_of_the_six_is_worded_by_its_actions() -> None:
    _, sequence, observations = SCRIPTS["lamp"][0]
    other = Instance(id="x", fingerprint="", payload=AlfworldGame(goal="", task_type="", problem="(:goal (isOn lamp))"))
    assert AlfworldRationales().write(SPEC, other, sequence, observations) == TemplateRationales().write(
        SPEC, other, sequence, observations
    )


def test_one_voice_speaks_through_a_trajectory_and_the_seed_chooses_it() -> None:
    instance, sequence, observations = SCRIPTS["two"][0]
    steps = understood(instance.payload, sequence.steps, observations)
    voices = set()
    for seed in range(40):
        said = AlfworldRationales(seed=seed).write(SPEC, instance, sequence, observations)
        [voice] = [voice for voice in range(6) if said == tuple(_worded(steps, voice))]
        voices.add(voice)
    assert voices == set(range(6))


def _worded(steps: tuple[ExpertStep, ...], voice: int) -> Iterator[str]:
    for step in steps:
        text = THOUGHTS[step.intent][voice].format_map(step.slots)
        yield text[:1].upper() + text[1:]


def test_given_thoughts_stay_unless_others_are_wanted() -> None:
    instance, sequence, observations = SCRIPTS["lamp"][0]
    given = dataclasses.replace(sequence, thoughts=("Mine.", None, None, None, None))
    kept = AlfworldRationales().write(SPEC, instance, given, observations)
    anew = AlfworldRationales(keep_given=False).write(SPEC, instance, given, observations)
    assert kept[0] == "Mine." != anew[0] and kept[1:] == anew[1:]


def test_a_writer_is_picklable_and_says_what_it_depends_on() -> None:
    writer = AlfworldRationales(seed=1)
    assert pickle.loads(pickle.dumps(writer)) == writer
    assert writer.facts() != AlfworldRationales().facts() != TemplateRationales().facts()


@pytest.mark.arena
@pytest.mark.skipif(missing_package("", "alfworld", "textworld") is not None, reason="alfworld is not installed")
def test_the_planners_walkthroughs_are_understood() -> None:
    environment = SPEC.make()
    for index in range(18):
        instance = SPEC.instance("train", index)
        environment.reset(options={"instance": instance})
        steps = tuple(environment.expert_steps())
        replayed = replay(SPEC, instance, [step.action for step in steps], environment=environment)
        intents = [step.intent for step in understood(instance.payload, steps, replayed.observations)]
        assert "solve" not in intents, instance.id
        check_thoughts(instance, ActionSequence(steps=steps, method="heuristic_search"), replayed.observations)
    environment.close()

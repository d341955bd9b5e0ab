"""The household engine: wording, admissible actions, goals, and an expert that sees only what it has seen."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.household import HouseholdEnvironment
from agentbank_jax.environments.household_world import Goal, House, HouseholdError
from agentbank_jax.environments.starter.embodied import SPECS
from agentbank_jax.environments.starter.houses import GOAL_KINDS

CONTENTS = (
    ("countertop 1", ("mug 2", "plate 1")),
    ("desk 1", ("desklamp 1",)),
    ("fridge 1", ("apple 1",)),
    ("microwave 1", ()),
    ("shelf 1", ("apple 2",)),
    ("sinkbasin 1", ()),
)
PUT_APPLE = Goal(object_type="apple", receptacle_type="countertop", text="put a apple in countertop.")


def household(goal: Goal = PUT_APPLE, contents=CONTENTS, likely=None, **arguments) -> tuple[HouseholdEnvironment, str]:
    environment = HouseholdEnvironment(**arguments)
    house = House(contents=contents, goal=goal, likely_places=likely or {"apple": ("fridge",)})
    observation, info = environment.reset(options={"instance": Instance(id="t/0", fingerprint="00", payload=house)})
    assert info == {"invalid_action": False}
    return environment, observation


def play(environment: HouseholdEnvironment, *actions: str) -> str:
    """The last observation."""
    observation = ""
    for action in actions:
        observation = environment.step(action)[0]
    return observation


def test_the_first_observation_lists_the_room_and_the_task():
    assert household()[1] == (
        "You are in the middle of a room. Looking quickly around you, you see a countertop 1, a desk 1, a fridge 1, "
        "a microwave 1, a shelf 1, and a sinkbasin 1.\nYour task is to: put a apple in countertop."
    )


def test_a_whole_episode_reads_as_in_alfworld():
    environment, _ = household()
    script = [
        ("go to countertop 1", "On the countertop 1, you see a mug 2, and a plate 1."),
        ("go to fridge 1", "The fridge 1 is closed."),
        ("take apple 1 from fridge 1", "Nothing happens."),
        ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1."),
        ("inventory", "You are not carrying anything."),
        ("take apple 1 from fridge 1", "You pick up the apple 1 from the fridge 1."),
        ("examine fridge 1", "The fridge 1 is open. In it, you see nothing."),
        ("inventory", "You are carrying: a apple 1."),
        ("examine apple 1", "There's nothing special about apple 1."),
        ("cool apple 1 with fridge 1", "You cool the apple 1 using the fridge 1."),
        ("close fridge 1", "You close the fridge 1."),
        ("go to microwave 1", "The microwave 1 is closed."),
        ("look", "You are facing the microwave 1. Next to it, you see nothing."),
        ("heat apple 1 with microwave 1", "You heat the apple 1 using the microwave 1."),
        ("go to sinkbasin 1", "On the sinkbasin 1, you see nothing."),
        ("clean apple 1 with sinkbasin 1", "You clean the apple 1 using the sinkbasin 1."),
        ("examine apple 1", "This is a clean and hot apple 1."),
        ("go to desk 1", "On the desk 1, you see a desklamp 1."),
        ("examine desklamp 1", "The desklamp 1 is off."),
        ("use desklamp 1", "You turn on the desklamp 1."),
        ("toggle desklamp 1", "You turn off the desklamp 1."),
        ("go to countertop 1", "On the countertop 1, you see a mug 2, and a plate 1."),
    ]
    for action, expected in script:
        observation, reward, terminated, truncated, info = environment.step(action)
        assert observation == expected
        assert (reward, terminated, truncated) == (0.0, False, False)
        assert info == {"invalid_action": expected == "Nothing happens."}
    observation, reward, terminated, truncated, info = environment.step("put apple 1 in/on countertop 1")
    assert observation == "You put the apple 1 in/on the countertop 1."
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info == {"invalid_action": False, "success": True, "goal_progress": 1}
    assert environment.valid_actions() == []
    assert environment.step("look")[0] == "Nothing happens."


@pytest.mark.parametrize(
    "action",
    ["", "Final Answer: done", "take desklamp 1 from desk 1", "use mug 2", "open shelf 1", "go to moon 1",
     "go to desk 1", "put apple 1 in/on desk 1", "examine mug 2", "dance"],
)  # fmt: skip
def test_what_cannot_be_done_is_answered_and_changes_nothing(action):
    environment, _ = household()
    play(environment, "go to desk 1")
    before = environment.household.snapshot()
    observation, reward, terminated, _, info = environment.step(action)
    assert (observation, reward, terminated, info) == ("Nothing happens.", 0.0, False, {"invalid_action": True})
    assert environment.household.snapshot() == before


def test_capitals_and_spaces_do_not_matter():
    environment, _ = household()
    assert play(environment, " Go  to Desk 1 ") == "On the desk 1, you see a desklamp 1."


def test_only_one_object_is_carried():
    environment, _ = household()
    assert play(
        environment, "go to countertop 1", "take mug 2 from countertop 1", "take plate 1 from countertop 1"
    ) == ("Nothing happens.")


def test_heating_undoes_cooling():
    environment, _ = household(Goal(object_type="apple", receptacle_type="shelf", properties=("cool",), text="t"))
    play(environment, "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "cool apple 1 with fridge 1")
    play(environment, "go to microwave 1", "heat apple 1 with microwave 1", "go to shelf 1")
    assert not environment.step("put apple 1 in/on shelf 1")[2]
    assert environment.household.properties["cool"] == 0


def test_examining_in_light_needs_the_object_in_hand_and_the_lamp_on():
    environment, _ = household(Goal(object_type="mug", lamp_type="desklamp", text="t"))
    play(environment, "go to desk 1")
    assert not environment.step("use desklamp 1")[2]
    play(environment, "go to countertop 1", "take mug 2 from countertop 1")
    assert environment.step("go to desk 1")[1:3] == (1.0, True)


def test_the_step_limit_truncates():
    environment, _ = household(max_steps=2)
    assert environment.step("look")[3] is False
    assert environment.step("look")[2:] == (
        False, True, {"invalid_action": False, "success": False, "goal_progress": 0},
    )  # fmt: skip


def test_unknown_names_are_reported():
    with pytest.raises(HouseholdError, match="alfworld_released"):
        HouseholdEnvironment(wording="alfworld_release")
    with pytest.raises(HouseholdError, match="twice"):
        household(contents=(("desk 1", ("mug 1", "mug 1")),))
    with pytest.raises(HouseholdError, match="either a receptacle or a lamp"):
        Goal(object_type="mug", text="t")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_listed_actions_are_exactly_those_that_do_something(index, seed):
    """Every action that a house can name is tried in states along a random walk."""
    rng = random.Random(seed)
    environment = SPECS[seed % 2].make()
    environment.reset(options={"instance": SPECS[seed % 2].instance("train", index)})
    house = environment.household
    vocabulary = ["inventory", "look"]
    for place in house.receptacles:
        vocabulary += [f"{verb} {place}" for verb in ("go to", "open", "close", "examine")]
        for item in house.objects:
            vocabulary += [f"take {item} from {place}", f"put {item} in/on {place}"]
            vocabulary += [f"{verb} {item} with {place}" for verb in ("clean", "heat", "cool")]
    vocabulary += [f"{verb} {item}" for item in house.objects for verb in ("use", "examine")]
    for _ in range(6):
        valid = environment.valid_actions()
        assert len(set(valid)) == len(valid) and set(valid) <= set(vocabulary)
        if not valid:
            break
        state = environment.snapshot()
        for action in vocabulary:
            observation, _, _, _, info = environment.step(action)
            assert (observation != "Nothing happens.") == (action in valid) == (not info["invalid_action"])
            changed = environment.household.snapshot() != state.household
            assert changed == (action in valid and not action.startswith(("examine", "inventory", "look")))
            environment.restore(state)
        environment.step(rng.choice(valid))


def test_restore_brings_back_everything_an_agent_could_notice():
    environment, _ = household()
    play(environment, "go to fridge 1", "open fridge 1")
    saved, actions = environment.snapshot(), environment.valid_actions()
    play(environment, "take apple 1 from fridge 1", "cool apple 1 with fridge 1", "close fridge 1", "go to shelf 1")
    environment.restore(saved)
    assert environment.valid_actions() == actions
    assert environment.snapshot() == saved


def test_the_expert_reaches_each_goal_and_leaves_the_environment_as_it_was():
    environment, _ = household()
    before = environment.snapshot()
    steps = environment.expert_steps()
    assert environment.snapshot() == before
    assert [step.action for step in steps] == [
        "go to fridge 1",
        "open fridge 1",
        "take apple 1 from fridge 1",
        "go to countertop 1",
        "put apple 1 in/on countertop 1",
    ]
    assert [step.intent for step in steps] == ["explore_first", "explore_open", "take", "go_put", "put"]


@pytest.mark.parametrize("index", range(40))
def test_the_expert_acts_alike_in_houses_that_differ_only_in_what_it_has_not_seen(index):
    """Objects in places where the expert never looks are taken away: its actions stay the same."""
    instance = SPECS[0].instance("train", index)
    environment = HouseholdEnvironment()
    environment.reset(options={"instance": instance})
    steps = environment.expert_steps()
    visited = {step.action.removeprefix("go to ") for step in steps if step.action.startswith("go to")}
    house: House = instance.payload
    stripped = House(
        contents=tuple((name, inside if name in visited else ()) for name, inside in house.contents),
        goal=house.goal,
        likely_places=house.likely_places,
    )
    assert stripped.contents != house.contents or all(name in visited or not i for name, i in house.contents)
    environment.reset(options={"instance": Instance(id="s", fingerprint="0", payload=stripped)})
    assert [step.action for step in environment.expert_steps()] == [step.action for step in steps]


def test_the_expert_explores_unlikely_places_when_the_likely_ones_are_empty():
    contents = tuple((name, () if name == "fridge 1" else inside) for name, inside in CONTENTS)
    environment, _ = household(Goal(object_type="apple", receptacle_type="sinkbasin", text="t"), contents)
    actions = [step.action for step in environment.expert_steps()]
    assert actions[:6] == [
        "go to fridge 1",
        "open fridge 1",
        "go to countertop 1",
        "go to desk 1",
        "go to microwave 1",
        "open microwave 1",
    ]
    assert actions[-1] == "put apple 2 in/on sinkbasin 1"


def test_the_expert_stops_where_the_goal_cannot_be_met():
    environment, _ = household(Goal(object_type="pen", receptacle_type="desk", text="t"))
    steps = environment.expert_steps()
    assert {step.intent for step in steps} <= {"explore_first", "explore_next", "explore_open"}
    assert {step.slots["place"] for step in steps} == {name for name, _ in CONTENTS}


def test_alfworlds_six_kinds_of_goal_are_there():
    assert len({kind.name for kind in GOAL_KINDS}) == 6

"""Made problems of ALFWorld: well-formed, solvable, apart in their splits, and the same in every process."""

import itertools
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from agentbank_jax.environments import alfworld_rooms, registry
from agentbank_jax.environments.alfworld_goals import GOAL_KINDS, AlfworldGoal, difficulty_of, goal_of
from agentbank_jax.environments.alfworld_problems import kind_of
from agentbank_jax.environments.packages import missing_package
from tests.environments import alfworld_kitchen

SPEC = registry.get("alfworld_generated")
KINDS = {kind.name: kind for kind in GOAL_KINDS}
APPLIANCES = {"clean": "SinkBasin", "heat": "Microwave", "cool": "Fridge"}

# Those of ALFRED's domain that problems state, and the types of what they are said of.
PREDICATES = {
    "atLocation": ("agent", "location"),
    "receptacleAtLocation": ("receptacle", "location"),
    "objectAtLocation": ("object", "location"),
    "openable": ("receptacle",),
    "opened": ("receptacle",),
    "inReceptacle": ("object", "receptacle"),
    "isReceptacleObject": ("object",),
    "receptacleType": ("receptacle", "rtype"),
    "canContain": ("rtype", "otype"),
    "objectType": ("object", "otype"),
    "cleanable": ("object",),
    "heatable": ("object",),
    "coolable": ("object",),
    "pickupable": ("object",),
    "toggleable": ("object",),
    "sliceable": ("object",),
}

needs_engine = pytest.mark.skipif(
    missing_package("alfworld", "alfworld", "textworld") is not None, reason="alfworld or textworld is not installed"
)

SAMPLE = [SPEC.instance(split, index) for split in registry.SPLITS for index in range(120)]


def sections(problem: str) -> tuple[dict[str, str], dict[str, set[tuple[str, ...]]]]:
    """What a problem declares, name → type, and its facts, predicate → what it is said of."""
    assert problem.count("(") == problem.count(")")
    objects, facts = re.fullmatch(
        r"\(define \(problem household\) \(:domain alfred\)\n\(:objects\n(.*?)\)\n\(:init\n(.*?)\)\n\(:goal .*\)\n\)\n",
        problem,
        re.DOTALL,
    ).groups()
    declared: dict[str, str] = {}
    for line in objects.splitlines():
        *names, dash, kind = line.split()
        assert dash == "-" and not set(names) & set(declared)
        declared |= dict.fromkeys(names, kind)
    stated = defaultdict(set)
    for line in facts.splitlines():
        predicate, *names = re.fullmatch(r"  \(([\w ]+)\)", line)[1].split()
        assert tuple(names) not in stated[predicate]
        stated[predicate].add(tuple(names))
    return declared, stated


def test_training_and_test_share_no_problem_and_few_are_twice() -> None:
    fingerprints = {
        split: [SPEC.instance(split, index).fingerprint for index in range(600)] for split in registry.SPLITS
    }
    assert not set(fingerprints["train"]) & set(fingerprints["test"])
    assert all(len(set(each)) >= 599 for each in fingerprints.values())
    assert SPEC.size("train") is None and not SPEC.held_out


def test_a_problem_follows_from_split_and_index_in_every_process() -> None:
    code = (
        "from agentbank_jax.environments.alfworld_problems import instance;"
        "print([instance(split, index) for split in ('train', 'test') for index in range(12)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    here = [SPEC.instance(split, index) for split in ("train", "test") for index in range(12)]
    assert told == {f"{here}\n"}


def test_six_problems_in_a_row_are_of_the_six_kinds_and_as_difficult_as_published_ones(own_benchmarks: Path) -> None:
    for first in (0, 5, 601):
        row = [SPEC.instance("train", index) for index in range(first, first + 6)]
        assert {each.payload.task_type: each.difficulty for each in row} == {
            "pick_and_place_simple": 2,
            "look_at_obj_in_light": 2,
            "pick_clean_then_place_in_recep": 3,
            "pick_heat_then_place_in_recep": 3,
            "pick_cool_then_place_in_recep": 3,
            "pick_two_obj_and_place": 4,
        }
    alfworld_kitchen.write_published(own_benchmarks / "alfworld" / "valid_unseen")
    assert registry.get("alfworld").instance("test", 0).difficulty == difficulty_of(alfworld_kitchen.TASK_TYPE) == 3


def test_problems_are_well_formed() -> None:
    for instance in SAMPLE:
        declared, facts = sections(instance.payload.problem)
        assert set(facts) <= set(PREDICATES), instance.id
        for predicate, stated in facts.items():
            for names in stated:
                assert tuple(declared[name] for name in names) == PREDICATES[predicate], (instance.id, predicate, names)
        assert {"FridgeType", "MicrowaveType", "SinkBasinType", "KnifeType", "ButterKnifeType"} <= set(declared)


def test_everything_is_in_one_place_that_may_hold_it() -> None:
    for instance in SAMPLE:
        declared, facts = sections(instance.payload.problem)
        place = dict(facts["receptacleAtLocation"])
        inside = dict(facts["inReceptacle"])
        assert len(place) == len(facts["receptacleAtLocation"]) == len(set(place.values()))
        assert len(inside) == len(facts["inReceptacle"])
        assert set(place) == {name for name, kind in declared.items() if kind == "receptacle"}
        assert set(inside) == {name for name, kind in declared.items() if kind == "object"}
        assert {item: place[holder] for item, holder in inside.items()} == dict(facts["objectAtLocation"])
        assert facts["opened"] <= facts["openable"]
        [(_, start)] = facts["atLocation"]
        assert start not in place.values()
        for item, holder in inside.items():
            lamp = kind_of(item) == alfworld_rooms.LAMP
            assert lamp == ((item,) not in facts["pickupable"]) == ((item,) in facts["toggleable"])
            assert lamp or (f"{kind_of(holder)}Type", f"{kind_of(item)}Type") in facts["canContain"], (item, holder)


def test_each_goal_can_be_reached_and_is_not_reached_at_the_start() -> None:
    for instance in SAMPLE:
        _, facts = sections(instance.payload.problem)
        goal = goal_of(instance.payload.problem)
        inside = dict(facts["inReceptacle"])
        receptacles = {kind_of(name) for name, _ in facts["receptacleAtLocation"]}
        wanted = [item for item in inside if kind_of(item) == goal.object_type]
        assert len(wanted) >= goal.count
        assert (
            (goal.target_type in {kind_of(item) for item in inside}) if goal.lamp else goal.target_type in receptacles
        )
        assert goal.target_type not in {kind_of(inside[item]) for item in wanted}
        if not goal.lamp:
            assert (f"{goal.target_type}Type", f"{goal.object_type}Type") in facts["canContain"]
        if goal.change:
            assert APPLIANCES[goal.change] in receptacles - {goal.target_type}
            assert {(item,) for item in wanted} <= facts[f"{goal.change}able"]


def test_the_sentence_says_the_goal() -> None:
    for instance in SAMPLE:
        goal, kind = goal_of(instance.payload.problem), KINDS[instance.payload.task_type]
        texts = [each.format(object=goal.object_type.lower(), target=goal.target_type.lower()) for each in kind.texts]
        assert instance.payload.goal in texts
        assert (goal.change, goal.count, goal.lamp) == (kind.change, kind.count, kind.lamp)
    wordings = Counter((kind.name, text) for kind in GOAL_KINDS for text in kind.texts)
    assert len(wordings) == 24


@pytest.mark.parametrize(
    "goal",
    [
        AlfworldGoal(object_type="CD", target_type="Safe"),
        AlfworldGoal(object_type="CD", target_type="DeskLamp", lamp=True),
        AlfworldGoal(object_type="Cloth", target_type="Shelf", change="clean"),
        AlfworldGoal(object_type="Egg", target_type="Shelf", change="heat"),
        AlfworldGoal(object_type="Egg", target_type="Shelf", change="cool"),
        AlfworldGoal(object_type="Pen", target_type="Shelf", count=2),
    ],
    ids=lambda goal: goal.object_type,
)
def test_a_goal_is_read_as_it_was_written(goal: AlfworldGoal) -> None:
    assert goal_of(f"(:init (objectType a BedType)){goal.pddl()}") == goal
    assert goal_of("(:goal (isOn lamp))") is None


def test_goals_of_published_games_are_read(benchmarks: Path) -> None:
    published = registry.get("alfworld")
    for index in range(published.size("test")):
        game = published.instance("test", index).payload
        goal, kind = goal_of(game.problem), KINDS[game.task_type]
        assert (goal.change, goal.count, goal.lamp) == (kind.change, kind.count, kind.lamp), game
        assert goal.object_type.lower() in game.goal and goal.target_type.lower() in game.goal


def test_objects_lie_where_alfred_lets_them() -> None:
    for room in alfworld_rooms.ROOMS.values():
        for item, places in room.places.items():
            assert set(places) <= set(room.receptacles), item
            assert all(item in alfworld_rooms.HOLDS[place] for place in places), item


@pytest.mark.arena
@needs_engine
def test_the_tables_are_alfreds() -> None:
    from alfworld.gen import constants

    kinds = frozenset(itertools.chain(*alfworld_rooms.HOLDS.values()))
    for holder, held in alfworld_rooms.HOLDS.items():
        assert held == constants.VAL_RECEPTACLE_OBJECTS[holder] & kinds, holder
    for table, name in (
        (alfworld_rooms.CLEANABLE, "Cleanable"), (alfworld_rooms.HEATABLE, "Heatable"),
        (alfworld_rooms.COOLABLE, "Coolable"), (alfworld_rooms.SLICEABLE, "Sliceable"),
    ):  # fmt: skip
        assert table == constants.VAL_ACTION_OBJECTS[name] & kinds, name
    assert {kind.name: set(kind.rooms) for kind in GOAL_KINDS}.items() <= constants.GOALS_VALID.items()


@pytest.mark.arena
@needs_engine
def test_the_predicates_are_those_of_alfreds_domain() -> None:
    import alfworld.info

    domain = Path(alfworld.info.ALFRED_PDDL_PATH).read_text(encoding="utf-8")
    declared = domain[domain.index("(:predicates") : domain.index("(:functions")]
    for predicate, kinds in PREDICATES.items():
        [names] = re.findall(rf"\({predicate} ([^()]*)\)", declared)
        assert tuple(re.findall(r"- (\w+)", names)) == kinds, predicate


@pytest.mark.arena
@needs_engine
@pytest.mark.parametrize("split", registry.SPLITS)
def test_a_sample_is_won_by_the_planner(split: str) -> None:
    environment = SPEC.make()
    for index in range(18):
        instance = SPEC.instance(split, index)
        first, _ = environment.reset(options={"instance": instance})
        assert first.endswith(f"Your task is to: {instance.payload.goal}.")
        receptacles = first.split("you see ")[1].split(".\n")[0]
        assert all(re.fullmatch(r"(and )?a [a-z]+ \d+", name) for name in receptacles.split(", ")), first
        steps = environment.expert_steps()
        assert len(steps) <= SPEC.max_steps
        for step in steps:
            _, reward, ended, _, info = environment.step(step.action)
            assert not info["invalid_action"]
        assert (reward, ended, info["success"]) == (1.0, True, True), instance.id
    environment.close()


@pytest.mark.arena
@needs_engine
def test_walkthrough_and_observations_are_the_same_in_two_processes() -> None:
    code = (
        "from agentbank_jax.environments import registry\n"
        "spec = registry.get('alfworld_generated')\n"
        "environment = spec.make()\n"
        "for index in range(6):\n"
        "    print(environment.reset(options={'instance': spec.instance('train', index)}))\n"
        "    for step in environment.expert_steps():\n"
        "        print(step, environment.step(step.action), environment.valid_actions())\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1] != ""
